"""Each grant against a certified OAuth2 server; support/oauth_ask.c asks as the gateway does."""
import base64
import json
import os
import subprocess
import unittest
import urllib.parse
import urllib.request

from peers import Peers

PROGRAM = os.path.join(os.path.dirname(os.environ["POSTERN"]), "oauth_ask")
SECRET = "postern-secret"


class Grants(Peers):
    scripts = ("oidc.sh", "dovecot.sh", "postfix.sh")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.http = f"http://127.0.0.1:{cls.base + 400}"
        cls.https = f"https://localhost:{cls.base + 443}"

    def ask(self, **settings):
        settings = {"token_url": f"{self.http}/token", "scope": "smtp", **settings}
        done = subprocess.run([PROGRAM], input=json.dumps(settings), stdout=subprocess.PIPE,
                              text=True, timeout=60, check=False)
        answer = json.loads(done.stdout)
        self.assertEqual(done.returncode == 0, "access_token" in answer, answer)
        return answer

    def post(self, path, headers=None, **fields):
        request = urllib.request.Request(self.http + path, headers=headers or {},
                                         data=urllib.parse.urlencode(fields).encode())
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    def introspect(self, token):
        login = base64.b64encode(b"dovecot:dovecot-secret").decode()
        return self.post("/token/introspection", {"Authorization": f"Basic {login}"}, token=token)

    def assertGood(self, answer, client=None, user=None):
        self.assertIn("access_token", answer)
        self.assertEqual(answer["lifetime_ms"], 5000)
        facts = self.introspect(answer["access_token"])
        self.assertTrue(facts["active"], facts)
        if client is not None:
            self.assertEqual(facts["client_id"], client)
        if user is not None:
            self.assertIn(user, facts.values(), facts)

    def assertRefused(self, answer, word):
        self.assertEqual(answer["error"], "token_refused", answer)
        self.assertEqual(answer["detail"].split(":")[0], word, answer)

    def test_client_credentials_basic(self):
        self.assertGood(self.ask(client_id="postern", client_secret=SECRET), "postern")

    def test_client_credentials_post(self):
        self.assertGood(self.ask(client_id="postern-post", client_secret=SECRET,
                                 client_auth="post"), "postern-post")

    def test_client_credentials_of_odd_characters(self):
        self.assertGood(self.ask(client_id="postern:odd", client_secret="a%b+c d:e&f=/g"),
                        "postern:odd")

    def test_client_credentials_with_a_signed_assertion(self):
        answer = self.ask(client_id="postern-es256", key_id="ck-1",
                          private_key_file=f"{self.dir}/oidc/client-key.pem")
        self.assertGood(answer, "postern-es256")

    def test_https(self):
        settings = {"token_url": f"{self.https}/token", "client_id": "postern",
                    "client_secret": SECRET}
        self.assertGood(self.ask(ca_file=f"{self.dir}/certs/ca.pem", **settings), "postern")
        self.assertEqual(self.ask(**settings)["error"], "certificate_untrusted")

    def test_wrong_client(self):
        self.assertRefused(self.ask(client_id="postern", client_secret="wrong"), "invalid_client")
        self.assertRefused(self.ask(client_id="postern-es256", key_id="ck-1",
                                    private_key_file=f"{self.dir}/oidc/signing-key.pem"),
                           "invalid_client")

    def refresh_token(self, client, user="alice@smtp.test"):
        query = urllib.parse.urlencode({"client": client, "user": user})
        return self.post(f"/test/refresh-token?{query}")["refresh_token"]

    def test_refresh_token(self):
        settings = {"grant": "refresh_token", "client_id": "postern", "client_secret": SECRET,
                    "newest": self.refresh_token("postern", "svc@smtp.test")}
        for _ in range(2):
            self.assertGood(self.ask(**settings), "postern", "svc@smtp.test")

    def test_refresh_token_of_a_public_client(self):
        answer = self.ask(grant="refresh_token", client_id="postern-public",
                          newest=self.refresh_token("postern-public"))
        self.assertGood(answer, "postern-public", "alice@smtp.test")

    def test_rotated_refresh_tokens(self):
        settings = {"grant": "refresh_token", "client_id": "postern-rotate",
                    "client_secret": SECRET}
        tokens = [self.refresh_token("postern-rotate")]
        for _ in range(3):
            answer = self.ask(newest=tokens[-1], **settings)
            self.assertGood(answer, "postern-rotate", "alice@smtp.test")
            tokens.append(answer["refresh_token"])
        self.assertEqual(len(set(tokens)), 4)
        # One that was used is refused, and takes the whole grant with it.
        self.assertRefused(self.ask(newest=tokens[0], **settings), "invalid_grant")
        self.assertRefused(self.ask(newest=tokens[-1], **settings), "invalid_grant")

    def test_refresh_token_of_nobody(self):
        settings = {"grant": "refresh_token", "client_id": "postern", "client_secret": SECRET}
        self.assertRefused(self.ask(newest="nonsense", **settings), "invalid_grant")
        answer = self.ask(**settings)
        self.assertEqual(answer["error"], "token_refused")
        self.assertTrue(answer["detail"].startswith("login "), answer)

    def test_jwt_bearer_of_a_service_account(self):
        settings = {"grant": "jwt_bearer", "subject": "alice@smtp.test",
                    "service_account_file": f"{self.dir}/oidc/service-account.json"}
        self.assertGood(self.ask(**settings), user="alice@smtp.test")
        self.assertGood(self.ask(**{**settings, "token_url": None}), user="alice@smtp.test")
        del settings["subject"]
        self.assertGood(self.ask(**settings), user="svc@smtp.test")

    def test_jwt_bearer_of_a_key_file(self):
        key = f"{self.dir}/oidc/service-account-key.pem"
        self.assertGood(self.ask(grant="jwt_bearer", client_id="svc@smtp.test",
                                 private_key_file=key, subject="bob@smtp.test"),
                        user="bob@smtp.test")
        self.assertRefused(self.ask(grant="jwt_bearer", client_id="other@smtp.test",
                                    private_key_file=key), "invalid_grant")


if __name__ == "__main__":
    unittest.main()
