"""Logins at servers that offer what they cannot do, over TLS and without."""
import base64
import hashlib
import hmac
import unittest

from certificates import Authority
from fake_relay import FakeRelay, ehlo_reply
from gateway import Gateway
from tls_relay import TlsRelay

MESSAGE = {"from": "a@example.com", "to": ["b@example.net"], "subject": "x", "text": "y\n"}
NAME = "smtp.test"
USER, PASSWORD = "alice", "a m² \"hidden\" word"
CHALLENGE = b"<1896.697170952@postoffice.test>"


def in_base64(octets):
    return base64.b64encode(octets).decode()


def right_plain(response):
    return response == in_base64(f"\0{USER}\0{PASSWORD}".encode())


def right_cram(response):
    digest = hmac.new(PASSWORD.encode(), CHALLENGE, hashlib.md5).hexdigest()
    return response == in_base64(f"{USER} {digest}".encode())


class Server:
    """A behaviour. `takes`: what it lets in by; `drops`: it hangs up on a refusal; `initial`: it knows
    initial responses. What is tried is noted, a list a connection."""

    def __init__(self, offers="CRAM-MD5 PLAIN", takes=("PLAIN",), drops=False, initial=True):
        self.offers, self.takes, self.drops, self.initial = offers, takes, drops, initial
        self.tried = {}

    def __call__(self, session, event, argument):
        if event == "ehlo":
            return ehlo_reply(["fake", f"AUTH {self.offers}"])
        if event != "other":
            return None
        words = argument.split(" ")
        if words[0] != "AUTH":
            return self.judge(session, session.mechanism, argument)
        session.mechanism = words[1]
        if len(words) == 3 and not self.initial:
            return "501 5.5.4 Syntax: AUTH mechanism\r\n"
        self.tried.setdefault(session, []).append(words[1])
        if len(words) == 3:
            return self.judge(session, words[1], words[2])
        return f"334 {in_base64(CHALLENGE) if words[1] == 'CRAM-MD5' else 'go ahead'}\r\n"

    def judge(self, session, mechanism, response):
        right = {"PLAIN": right_plain, "CRAM-MD5": right_cram}[mechanism](response)
        if right and mechanism in self.takes:
            return "235 2.7.0 welcome\r\n"
        if self.drops:
            session.send("535 5.7.8 Authentication failed\r\n")
            session.drop()
        return "535 5.7.8 Authentication failed\r\n"


class Logins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.good = cls.authority.leaf(f"DNS:{NAME},IP:127.0.0.1")

    def gateway(self, relay, password=PASSWORD, verify=True, **more):
        settings = relay.settings(auth={"username": USER, "password": password}, **more)
        if isinstance(relay, TlsRelay):
            settings["tls_options"] = {"ca_file": self.authority.file, "server_name": NAME,
                                       "verify": verify}
        return Gateway({"queue": {"retry": ["200ms"]}, "relays": [settings]})

    def send(self, gateway, n=1):
        for _ in range(n):
            answer = gateway.post(MESSAGE, {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, answer.body.decode() + gateway.log())
        self.assertNotIn("hidden", gateway.log())

    def test_a_challenge_by_the_octets_of_the_password(self):
        server = Server(takes=("CRAM-MD5",))
        with FakeRelay(server) as relay, self.gateway(relay) as gateway:
            self.send(gateway)
            self.assertEqual(list(server.tried.values()), [["CRAM-MD5"]])

    def test_after_a_refused_challenge_plain_and_it_is_remembered(self):
        server = Server()
        with TlsRelay(self.good, server) as relay, \
                self.gateway(relay, connections={"max": 1, "max_messages": 1}) as gateway:
            self.send(gateway, 3)
            self.assertEqual(list(server.tried.values()), [["CRAM-MD5", "PLAIN"], ["PLAIN"], ["PLAIN"]])

    def test_of_a_server_that_hangs_up_too(self):
        server = Server(drops=True)
        with TlsRelay(self.good, server) as relay, \
                self.gateway(relay, connections={"max": 1}) as gateway:
            self.send(gateway)
            self.assertEqual(list(server.tried.values())[-1], ["PLAIN"])
            self.assertEqual(list(server.tried.values())[0], ["CRAM-MD5"])

    def test_never_without_a_verified_certificate(self):
        server = Server()
        with TlsRelay(self.good, server) as relay, self.gateway(relay, verify=False) as gateway:
            gateway.post(MESSAGE)
            gateway.wait_for_log("code=auth_failed")
            error = gateway.get("/v1/relays").json()["data"][0]["last_error"]
            self.assertEqual((error["step"], error["code"]), ("auth", "auth_failed"))
            self.assertEqual({tuple(t) for t in server.tried.values()}, {("CRAM-MD5",)})

    def test_a_wrong_password_is_tried_twice(self):
        server = Server(takes=("PLAIN", "CRAM-MD5"))
        with TlsRelay(self.good, server) as relay, \
                self.gateway(relay, "a wrong \"hidden\" word", connections={"max": 1}) as gateway:
            gateway.post(MESSAGE)
            gateway.wait_for_log("code=auth_failed")
            self.assertEqual(list(server.tried.values())[0], ["CRAM-MD5", "PLAIN"])
            self.assertTrue(all(len(t) == 1 for t in list(server.tried.values())[1:]), server.tried)

    def test_without_initial_responses(self):
        server = Server(offers="PLAIN", initial=False)
        with TlsRelay(self.good, server) as relay, \
                self.gateway(relay, connections={"max": 1, "max_messages": 1}) as gateway:
            self.send(gateway, 2)
            first, second = relay.sessions[:2]
            auth = [[c.split(" ")[:2] + ["..."] * (len(c.split(" ")) > 2) for c in s.commands
                     if c.startswith("AUTH")] for s in (first, second)]
            self.assertEqual(auth, [[["AUTH", "PLAIN", "..."], ["AUTH", "PLAIN"]], [["AUTH", "PLAIN"]]])


if __name__ == "__main__":
    unittest.main()
