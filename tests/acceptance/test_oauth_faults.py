"""Token endpoints that fail, and what becomes of the mail: it waits, nothing is lost, and it flows by
itself when they are mended."""
import base64
import json
import os
import re
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway
from ports import bound_socket
from token_endpoint import TokenEndpoint, reply


def granted(**fields):
    return reply(200, json.dumps({"access_token": "odd-token", "token_type": "Bearer",
                                  "expires_in": 3600, **fields}))


def endless(handler):
    handler.wfile.write(b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n\r\n{\"a\": \"")
    try:
        for _ in range(1 << 14):  # a gigabyte, if anybody took it
            handler.wfile.write(b"x" * 65536)
            handler.server.n_poured = getattr(handler.server, "n_poured", 0) + 65536
    except OSError:
        pass


def hang_up(handler):
    handler.connection.close()


FAULTS = {
    "500": reply(500, "oops", "text/plain"),
    "503": reply(503, json.dumps({"error": "temporarily_unavailable"})),
    "429": reply(429, json.dumps({"error": "slow_down"}), Retry_After=2),
    "html": reply(200, "<html>Sign in to the wireless network</html>", "text/html"),
    "truncated": granted()[:-9],
    "not-json": reply(200, '{"access_token": '),
    "gigabyte": endless,
    "redirect": reply(302, "", Location="https://example.invalid/token"),
    "mac": granted(token_type="mac"),
    "crlf": granted(access_token="abc\r\nRSET"),
    "no-token": reply(200, json.dumps({"token_type": "Bearer", "expires_in": 3600})),
    "hang-up": hang_up,
}

LIFETIMES = {"missing": {}, "numeric-string": {"expires_in": "3600"}, "negative": {"expires_in": -5},
             "huge": {"expires_in": 1e30}, "word": {"expires_in": "soon"}}


def accepts_tokens(session, event, argument):
    if event == "other" and argument.startswith("AUTH XOAUTH2"):
        session.token = base64.b64decode(argument.split()[2]).decode()
        return "235 2.7.0 in\r\n"
    return None


class Faults(unittest.TestCase):
    def oauth(self, name, url, **more):
        return {"name": name, "provider": "custom", "grant": "client_credentials", "client_id": "i",
                "client_secret": "the-client-secret", "token_url": url, **more}

    def relay(self, name, fake):
        return {"name": name, "host": "127.0.0.1", "port": fake.port, "tls": "none",
                "auth": {"username": "u", "oauth": name}}

    def test_every_fault_is_waited_out(self):
        names = [*FAULTS, *LIFETIMES, "down"]
        later = bound_socket()
        lifetimes = {f"/{n}": (1, lambda h, e=e: h.wfile.write(
            reply(200, json.dumps({"access_token": f"odd-{time.monotonic_ns()}",
                                   "token_type": "Bearer", **e})))) for n, e in LIFETIMES.items()}
        with FakeRelay(accepts_tokens, extensions=("AUTH XOAUTH2",)) as fake, TokenEndpoint(
                {**{f"/{n}": (2, fault) for n, fault in FAULTS.items()}, **lifetimes}) as endpoint:
            settings = {
                "log": {"level": "debug"},
                "oauth": [*(self.oauth(n, endpoint.url(f"/{n}")) for n in names[:-1]),
                          self.oauth("down", f"http://127.0.0.1:{later.getsockname()[1]}/token")],
                "relays": [self.relay(n, fake) for n in names]}
            with Gateway(settings) as gateway:
                ids = {n: gateway.post({"from": "a@example.com", "to": f"{n}@example.net",
                                        "subject": n, "text": "x\n", "relay": n}).json()["id"]
                       for n in names}
                deadline, errors = time.monotonic() + 8, {}
                while set(errors) != {*FAULTS, "down"} and time.monotonic() < deadline:
                    for state in gateway.get("/v1/relays").json()["data"]:
                        if state["last_error"] is not None:
                            errors.setdefault(state["name"], state["last_error"]["code"])
                    time.sleep(0.02)
                self.assertEqual(errors, dict.fromkeys([*FAULTS, "down"], "token_unavailable"))
                with TokenEndpoint(listener=later):
                    records = {n: gateway.wait_for(id, seconds=40) for n, id in ids.items()}
                for name, record in records.items():
                    with self.subTest(name):
                        self.assertEqual(record["status"], "sent")
                        self.assertEqual(record["recipients"][0]["attempts"], 1)
                        self.assertEqual([e["type"] for e in record["events"]],
                                         ["message.queued", "message.sent"])
                first, second = (t for t, _, _ in endpoint.asked("/429")[:2])
                self.assertGreaterEqual(second - first, 2, "Retry-After")
                with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as f:
                    rss_mib = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) / 1024
                if "SANITIZER" not in os.environ and "asan" not in os.environ["POSTERN"]:
                    self.assertLess(rss_mib, 200)
                log = gateway.log()
            for secret in ("the-client-secret", "odd-token", *endpoint.tokens):
                self.assertNotIn(secret, log)
            self.assertNotIn("RSET", "".join(c for s in fake.sessions for c in s.commands))

    def test_a_grant_that_is_refused_waits_for_a_person(self):
        with FakeRelay(accepts_tokens, extensions=("AUTH XOAUTH2",)) as fake, TokenEndpoint() as e:
            oauth = self.oauth("person", e.url(), grant="refresh_token", refresh_token="an-old-one")
            with Gateway({"oauth": [oauth], "relays": [self.relay("person", fake)]}) as gateway:
                id = gateway.post({"from": "a@example.com", "to": "b@example.net", "subject": "x",
                                   "text": "x\n"}).json()["id"]
                gateway.wait_for_log("postern login person")
                time.sleep(3)
                self.assertLessEqual(len(e.asked()), 2, "no storm of requests")
                state = gateway.get("/v1/relays/person").json()
                self.assertEqual(state["last_error"]["code"], "token_refused")
                self.assertIn("postern login person", state["last_error"]["hint"])
                self.assertEqual(gateway.record(id)["recipients"][0]["attempts"], 0)
                self.assertEqual(gateway.get("/readyz").status, 200)
                put = gateway.request("PUT", "/v1/oauth/person/grant",
                                      json.dumps({"refresh_token": e.refresh_token}),
                                      {"Content-Type": "application/json"})
                self.assertEqual(put.status, 200, put.body)
                self.assertEqual(gateway.wait_for(id, seconds=40)["status"], "sent")

    def test_a_refused_token_is_replaced_once(self):
        refused = []

        def first_is_stale(session, event, argument):
            if event == "other" and argument.startswith("AUTH XOAUTH2"):
                if not refused:
                    refused.append(argument)
                    return "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"
                self.assertNotEqual(argument, refused[0])
                return "235 2.7.0 in\r\n"
            if event == "other" and argument == "":
                return "535 5.7.8 stale\r\n"
            return None

        with FakeRelay(first_is_stale, extensions=("AUTH XOAUTH2",)) as fake, TokenEndpoint() as e:
            with Gateway({"oauth": [self.oauth("stale", e.url())],
                          "relays": [self.relay("stale", fake)]}) as gateway:
                record = gateway.post({"from": "a@example.com", "to": "b@example.net",
                                       "subject": "x", "text": "x\n"}, {"Prefer": "wait=20"}).json()
                self.assertEqual(record["status"], "sent")
                self.assertEqual(record["recipients"][0]["attempts"], 1)
                self.assertEqual(len(e.asked()), 2)
                self.assertNotIn("relay failure", gateway.log())

    def test_the_grant_survives_fifty_kills(self):
        """Killed in the moment a token obtained by a rotated grant is first used."""
        with TokenEndpoint(lifetime=2) as endpoint:
            logins = []

            def note(session, event, argument):
                if event == "other" and argument.startswith("AUTH XOAUTH2"):
                    logins.append(time.monotonic())
                    gateway.process.kill()
                    return "235 2.7.0 in\r\n"
                return None

            with FakeRelay(note, extensions=("AUTH XOAUTH2",)) as fake:
                oauth = self.oauth("rotating", endpoint.url(), grant="refresh_token",
                                   refresh_token=endpoint.refresh_token)
                gateway = Gateway({"oauth": [oauth], "relays": [self.relay("rotating", fake)],
                                   "queue": {"retry": ["100ms"]}}, start=False)
                try:
                    gateway.start()
                    gateway.post({"from": "a@example.com", "to": "b@example.net", "subject": "x",
                                  "text": "x\n"})
                    for kills in range(1, 51):
                        deadline = time.monotonic() + 20
                        while len(logins) < kills:
                            self.assertLess(time.monotonic(), deadline, gateway.log()[-3000:])
                            time.sleep(0.002)
                        gateway.process.wait()
                        gateway.start(wait=False)
                    self.assertEqual(endpoint.reused, [])
                    self.assertGreaterEqual(len(endpoint.asked()), 50)
                finally:
                    gateway.close()


if __name__ == "__main__":
    unittest.main()
