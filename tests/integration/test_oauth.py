"""The whole chain of a login by token: a certified OAuth2 server, Postfix and Dovecot, all real."""
import glob
import json
import os
import time
import unittest
import urllib.request

from gateway import Gateway
from peers import Peers

LIFETIME_S = 5
LOAD_S = int(os.environ.get("OAUTH_LOAD_SECONDS", "15"))


def message(number=0, **more):
    return {"from": "alice@smtp.test", "to": f"r{number}@example.net", "subject": str(number),
            "text": "hi\n", **more}


class Chain(Peers):
    scripts = ("oidc.sh", "dovecot.sh", "postfix.sh")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.issuer = f"http://127.0.0.1:{cls.base + 400}"

    def hook(self, path, **query):
        asked = "&".join(f"{k}={v}" for k, v in query.items())
        request = urllib.request.Request(f"{self.issuer}/test/{path}?{asked}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            body = response.read()
        return json.loads(body) if body else None

    def requests(self):
        with open(f"{self.dir}/oidc/oidc.log", encoding="utf-8") as f:
            return [line for line in f if line.startswith("POST /token ")]

    def oauth(self, **more):
        return {"name": "chain", "provider": "custom", "grant": "client_credentials",
                "client_id": "postern", "client_secret": "postern-secret", "scope": "smtp",
                "token_url": f"{self.issuer}/token", **more}

    def settings(self, oauth, offset=587, mechanism="auto", **more):
        return {"oauth": [oauth], "log": {"level": "debug"}, "relays": [{
            "name": "peer", "host": "localhost", "port": self.base + offset,
            "tls": "implicit" if offset in (465, 665) else "starttls",
            "tls_options": {"ca_file": f"{self.dir}/certs/ca.pem"},
            "auth": {"username": "alice@smtp.test", "oauth": "chain", "mechanism": mechanism},
            **more}]}

    def send_one(self, settings):
        with Gateway(settings) as gateway:
            answer = gateway.post(message(), {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, f"{answer.body}\n{gateway.log()}")
            return gateway.get("/v1/relays/peer").json(), gateway.log()

    def test_both_mechanisms_at_both_servers(self):
        for offset in (587, 465, 687, 665):
            for mechanism in ("xoauth2", "oauthbearer"):
                with self.subTest(offset=offset, mechanism=mechanism):
                    relay, log = self.send_one(self.settings(self.oauth(), offset, mechanism))
                    self.assertIn(f"mechanism={mechanism.upper()}", log)
                    self.assertEqual(relay["oauth"]["name"], "chain")
                    self.assertIn(relay["oauth"]["state"], ("fresh", "refreshing"))
                    self.assertLessEqual(relay["oauth"]["seconds_left"], LIFETIME_S)
                    self.assertGreater(relay["oauth"]["seconds_left"], 0)

    def test_every_grant(self):
        first = self.hook("refresh-token", client="postern-rotate")["refresh_token"]
        folder = f"{self.dir}/oidc"
        grants = {
            "client_secret_post": {"client_id": "postern-post", "client_auth": "post"},
            "form-encoded": {"client_id": "postern:odd", "client_secret": "a%b+c d:e&f=/g"},
            "private key": {"client_id": "postern-es256", "client_secret": None, "key_id": "ck-1",
                            "private_key_file": f"{folder}/client-key.pem"},
            "refresh_token": {"grant": "refresh_token", "client_id": "postern-rotate",
                              "refresh_token": first},
            "jwt_bearer": {"grant": "jwt_bearer", "client_id": None, "client_secret": None,
                           "service_account_file": f"{folder}/service-account.json",
                           "subject": "alice@smtp.test"},
        }
        for name, grant in grants.items():
            with self.subTest(name):
                oauth = {k: v for k, v in self.oauth(**grant).items() if v is not None}
                self.send_one(self.settings(oauth))

    def test_load_over_many_lifetimes(self):
        before = len(self.requests())
        settings = self.settings(self.oauth(), connections={"max": 8, "lifetime": "1s"})
        with Gateway(settings) as gateway:
            ids, end, begun = [], time.monotonic() + LOAD_S, time.monotonic()
            while time.monotonic() < end:
                ids.append(gateway.post(message(len(ids))).json()["id"])
                time.sleep(0.03)
            records = [gateway.wait_for(id) for id in ids]
            took = time.monotonic() - begun
            log = gateway.log()
            connections = log.count("logged in")
        self.assertEqual({r["status"] for r in records}, {"sent"})
        self.assertEqual({r["recipients"][0]["attempts"] for r in records}, {1})
        self.assertEqual({e["type"] for r in records for e in r["events"]},
                         {"message.queued", "message.sent"})
        n = len(self.requests()) - before
        print(f"{len(ids)} messages, {connections} logins, {n} token requests in {took:.0f} s "
              f"of {LIFETIME_S} s tokens")
        # refreshed ahead at 80 % of the lifetime, with jitter
        self.assertLessEqual(n, took / (0.7 * LIFETIME_S) + 2)
        self.assertGreater(connections, 8)

    def test_rotation_survives_kills(self):
        """A grant that is revoked whole when an old refresh token is used again."""
        first = self.hook("refresh-token", client="postern-rotate")["refresh_token"]
        settings = self.settings(self.oauth(grant="refresh_token", client_id="postern-rotate",
                                            refresh_token=first))
        gateway = Gateway(settings, start=False)
        try:
            for round in range(12):
                gateway.start()
                answer = gateway.post(message(round), {"Prefer": "wait=20"})
                self.assertEqual(answer.status, 200, gateway.log())
                time.sleep(0.037 * (round % 4))
                gateway.kill()
                time.sleep(0.2)
        finally:
            gateway.close()

    def test_nothing_secret_is_shown(self):
        first = self.hook("refresh-token", client="postern-rotate")["refresh_token"]
        settings = self.settings(self.oauth(grant="refresh_token", client_id="postern-rotate",
                                            refresh_token=first))
        with Gateway(settings) as gateway:
            id = gateway.post(message(), {"Prefer": "wait=20"}).json()["id"]
            shown = [gateway.log(), gateway.get("/metrics").body.decode(),
                     gateway.get("/v1/relays").body.decode(),
                     gateway.get(f"/v1/messages/{id}?transcript=1").body.decode(),
                     gateway.get("/readyz").body.decode()]
            with open(f"/proc/{gateway.process.pid}/cmdline", "rb") as f:
                shown.append(f.read().decode())
            with open(f"/proc/{gateway.process.pid}/limits", encoding="ascii") as f:
                self.assertRegex(f.read(), r"Max core file size\s+0\s+0")
            stored = b"".join(open(path, "rb").read() for path in glob.glob(f"{gateway.dir}/*")
                              if os.path.isfile(path) and not path.endswith(".yaml"))
        for text in shown:
            for secret in (first, "postern-secret", "Bearer "):
                self.assertNotIn(secret, text)
        self.assertNotIn(first.encode(), stored)


if __name__ == "__main__":
    unittest.main()
