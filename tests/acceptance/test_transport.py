"""Getting there: names, addresses, proxies, and TLS sessions and certificates over time."""
import base64
import hashlib
import os
import subprocess
import time
import unittest

from certificates import Authority
from fake_relay import FakeRelay
from gateway import POSTERN, Gateway
from ports import nobodys_port
from proxies import Microsocks, Tinyproxy
from tls_relay import TlsRelay

MESSAGE = {"from": "a@example.com", "to": ["b@example.net"], "subject": "x", "text": "y\n"}
NAME = "smtp.test"
ONE_EACH = {"max": 1, "max_messages": 1}  # a connection a message


def gateway(relay, env=None, **settings):
    return Gateway({"queue": {"retry": ["200ms"]}, "relays": [relay.settings(**settings)]}, env)


def resolver_that_hangs_for(name):
    """What makes it so, for the gateway's environment."""
    preload = os.path.join(os.path.dirname(os.path.abspath(POSTERN)), "hang_dns.so")
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": preload, "HANGING_NAME": name, "ASAN_OPTIONS": options}


class TransportCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.leaf = cls.authority.leaf(f"DNS:{NAME},IP:127.0.0.1")
        cls.trust = {"ca_file": cls.authority.file, "server_name": NAME}

    def send(self, g):
        answer = g.post(MESSAGE, {"Prefer": "wait=20"})
        self.assertEqual(answer.status, 200, answer.body.decode() + g.log())

    def assert_trouble(self, g, *texts):
        """The relay's trouble is told so, and the message waits without an attempt."""
        id = g.post(MESSAGE).json()["id"]
        g.wait_for_log('msg="relay failure"')
        for text in texts:
            self.assertIn(text, g.log())
        record = g.record(id)
        self.assertEqual((record["status"], record["recipients"][0]["attempts"]), ("queued", 0))


class Proxies(TransportCase):
    def relays(self):
        return (FakeRelay(), TlsRelay(self.leaf), TlsRelay(self.leaf, implicit=False))

    def assert_through(self, proxy):
        for relay in self.relays():
            with self.subTest(proxy.url, tls=relay.settings()["tls"]), relay, gateway(
                    relay, proxy=proxy.url, tls_options=self.trust) as g:
                self.send(g)
                self.send(g)
                self.assertEqual(len(relay.messages), 2)
                if proxy.password:
                    self.assertNotIn(proxy.password, g.log())

    def test_socks(self):
        with Microsocks() as proxy:
            self.assert_through(proxy)
        with Microsocks("joe", "a-secret") as proxy:
            self.assert_through(proxy)

    def test_http(self):
        with Tinyproxy() as proxy:
            self.assert_through(proxy)
        with Tinyproxy("joe", "a-secret") as proxy:
            self.assert_through(proxy)

    def test_it_is_the_proxy_that_resolves(self):
        with FakeRelay() as relay:
            for proxy in (Microsocks(), Tinyproxy()):
                with self.subTest(proxy.url), proxy, gateway(
                        relay, resolver_that_hangs_for("localhost"), host="localhost",
                        proxy=proxy.url) as g:
                    self.send(g)

    def test_wrong_logins(self):
        for proxy in (Microsocks("joe", "a-secret"), Tinyproxy("joe", "a-secret")):
            with self.subTest(proxy.url), proxy, FakeRelay() as relay:
                wrong = proxy.url.replace("a-secret", "a-guess")
                with gateway(relay, proxy=wrong) as g:
                    self.assert_trouble(g, "step=proxy", "code=proxy_failed")
                    self.assertNotIn("a-guess", g.log())
                self.assertEqual(relay.sessions, [])

    def test_what_they_refuse(self):
        nobody = nobodys_port()
        with FakeRelay() as relay:
            with Tinyproxy(allowed=1) as proxy, gateway(relay, proxy=proxy.url) as g:
                self.assert_trouble(g, "step=proxy", "code=proxy_failed", "403")
            with Microsocks() as proxy, gateway(relay, port=nobody, proxy=proxy.url) as g:
                self.assert_trouble(g, "step=proxy", "code=proxy_failed", "refused by the host")

    def test_one_that_is_not_there(self):
        with FakeRelay() as relay, gateway(relay, proxy=f"socks5://127.0.0.1:{nobodys_port()}") as g:
            self.assert_trouble(g, "step=tcp", "code=proxy_failed", "the proxy: 127.0.0.1 port")


class Addresses(TransportCase):
    def test_a_name_of_two_families(self):
        # where localhost is ::1 as well, nobody listens there
        with FakeRelay() as relay, gateway(relay, host="localhost") as g:
            self.send(g)

    def test_source_address(self):
        seen = []

        def behaviour(session, event, argument):
            if event == "connect":
                seen.append(session.sock.getpeername()[0])
        with FakeRelay(behaviour) as relay, gateway(relay, source_address="127.0.0.9") as g:
            self.send(g)
        self.assertEqual(seen, ["127.0.0.9"])

    def test_a_source_address_of_somebody_else(self):
        with FakeRelay() as relay, gateway(relay, source_address="203.0.113.9") as g:
            self.assert_trouble(g, "step=tcp", "code=connect_failed", "source_address 203.0.113.9")


class Names(TransportCase):
    """Fault 128."""

    def threads_of(self, g):
        return len(os.listdir(f"/proc/{g.process.pid}/task"))

    def test_a_resolver_that_hangs(self):
        with FakeRelay() as relay, gateway(relay, resolver_that_hangs_for("hang.test"),
                                           host="mail.hang.test",
                                           timeouts={"connect": "200ms"}) as g:
            before = self.threads_of(g)
            self.assert_trouble(g, "step=dns", "code=dns_failed", "no answer from the resolver")
            deadline = time.monotonic() + 20
            while g.log().count('msg="relay failure"') < 3 and time.monotonic() < deadline:
                self.assertEqual(g.get("/livez").status, 200)
                time.sleep(0.02)
            self.assertEqual(g.log().count('msg="relay failure"'), 3)
            self.assertLessEqual(self.threads_of(g), before + 1)  # one lookup, however often asked
            self.assertEqual(g.term(), 0)

    def test_others_are_not_held_up(self):
        with FakeRelay() as relay:
            slow = [relay.settings(name=f"slow{i}", host=f"{i}.hang.test", timeouts={"connect": "4s"})
                    for i in range(8)]
            with Gateway({"relays": [*slow, relay.settings(name="good", host="localhost")]},
                         resolver_that_hangs_for("hang.test")) as g:
                for i in range(8):
                    self.assertEqual(g.post({**MESSAGE, "relay": f"slow{i}"}).status, 202)
                answer = g.post({**MESSAGE, "relay": "good"}, {"Prefer": "wait=20"})
                self.assertEqual(answer.status, 200, g.log())
                self.assertNotIn("relay failure", g.log())  # they are all still waiting


class Tls(TransportCase):
    def recording(self, seen):
        def behaviour(session, event, argument):
            if event == "ehlo":
                seen.append(session.sock.session_reused)
        return behaviour

    def test_sessions_are_resumed(self):  # fault 92
        seen = []
        with TlsRelay(self.leaf, self.recording(seen)) as relay, gateway(
                relay, tls_options=self.trust, connections=ONE_EACH) as g:
            for _ in range(3):
                self.send(g)
            self.assertEqual(seen, [False, True, True])
            g.restart()
            self.send(g)
            self.assertEqual(seen[3:], [False])

    def test_a_changed_authority(self):  # fault 93
        seen = []
        with Authority() as other, TlsRelay(self.leaf, self.recording(seen)) as relay:
            ca_file = other.write("trusted.pem", open(self.authority.file, encoding="ascii").read())
            with gateway(relay, tls_options={**self.trust, "ca_file": ca_file},
                         connections=ONE_EACH) as g:
                self.send(g)
                self.send(g)
                other.write("trusted.pem", "nothing of the kind")
                self.send(g)
                g.wait_for_log("certificate files not loaded")
                self.assertEqual(seen, [False, True, True])
                other.write("trusted.pem", open(other.file, encoding="ascii").read())
                g.wait_for_log("certificate files loaded anew")
                self.assert_trouble(g, "step=tls", "code=certificate_untrusted")
                self.assertEqual(g.log().count("certificate files not loaded"), 1)

    def test_pins(self):
        der = subprocess.run(["openssl", "x509", "-in", self.leaf[0], "-noout", "-pubkey"],
                             check=True, stdout=subprocess.PIPE).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=der,
                             check=True, stdout=subprocess.PIPE).stdout
        pin = "sha256/" + base64.b64encode(hashlib.sha256(der).digest()).decode()
        other = "sha256/" + base64.b64encode(bytes(32)).decode()
        for verify in (True, False):
            with self.subTest(verify=verify), TlsRelay(self.leaf) as relay:
                options = {**self.trust, "verify": verify}
                with gateway(relay, tls_options={**options, "pins": [other, pin]}) as g:
                    self.send(g)
                with gateway(relay, tls_options={**options, "pins": [other]}) as g:
                    self.assert_trouble(g, "step=tls", "code=certificate_untrusted", pin)


if __name__ == "__main__":
    unittest.main()
