"""`postern login`: device codes and authorization codes, at a certified server and at a double of a
provider that has faults; and that the grant is where a gateway finds it."""
import base64
import http.client
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from fake_relay import FakeRelay
from gateway import POSTERN, Gateway
from oauth_double import CLIENT, OAuthDouble
from peers import Peers

SECONDS = 60
URL = r"^(http://\S+)$"
LOOPBACK = re.compile(r"^http://127\.0\.0\.1:(\d+)/$")

# A browser that follows where it is sent, and keeps the page it ends up at.
BROWSER = """#!/bin/sh
exec python3 - "$1" <<'END' >"$0.page" 2>&1
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())
END
"""


class Login:
    """The command under way. `entries` are of oauth[]; all it writes is kept."""

    def __init__(self, *args, entries=(), relays=(), env=None, stdin=subprocess.DEVNULL, store=True):
        self.dir = tempfile.mkdtemp(prefix="login")
        self.database = f"{self.dir}/queue.db"
        self.settings = {"oauth": list(entries), "relays": list(relays)}
        if store:
            self.settings["queue"] = {"store": f"sqlite:{self.database}"}
        path = f"{self.dir}/postern.yaml"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.settings, f)
        inherited = {k: v for k, v in os.environ.items()
                     if not k.startswith("POSTERN_") and k not in ("DISPLAY", "WAYLAND_DISPLAY")}
        args = ["--config", path, *args]
        self.process = subprocess.Popen([POSTERN, "login", *args], stdin=stdin, bufsize=0,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**inherited, **(env or {})})
        self.stderr = ""

    def wait_for(self, pattern):
        """A match in what it says to people."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.stderr, re.M)) is None:
            ready, _, _ = select.select([self.process.stderr], [], [],
                                        max(0, deadline - time.monotonic()))
            more = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            if not more:
                raise AssertionError(f"it never said {pattern!r}:\n{self.stderr}")
            self.stderr += more.decode()
        return found

    def type(self, text):
        self.process.stdin.write(text.encode())

    def end(self):
        """(exit status, standard output)"""
        if self.process.stdin is not None:
            self.process.stdin.close()
            self.process.stdin = None
        out, err = self.process.communicate(timeout=SECONDS)
        self.stderr += err.decode()
        return self.process.returncode, out.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.dir, ignore_errors=True)


def visit(url):
    """A browser's way: (status, page) of where it ends up."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


def ends_up_at(url):
    """Where the provider sends the browser, without going there."""
    split = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(split.netloc, timeout=20)
    try:
        connection.request("GET", f"{split.path}?{split.query}")
        return connection.getresponse().headers["Location"]
    finally:
        connection.close()


def takes_tokens(good):
    """A relay's behaviour: it takes a bearer token for which `good(token)` holds."""
    def behaviour(session, event, argument):
        if event == "ehlo":
            return "250-fake\r\n250 AUTH XOAUTH2\r\n"
        if event == "other" and argument.upper().startswith("AUTH XOAUTH2 "):
            login = base64.b64decode(argument.split(" ")[2]).decode()
            token = re.search("auth=Bearer ([^\x01]*)\x01", login)[1]
            return "235 2.7.0 in\r\n" if good(token) else "535 5.7.8 no\r\n"
        return None
    return behaviour


def relay_of(relay, entry="double"):
    return {"name": "r", "host": "127.0.0.1", "port": relay.port, "tls": "none",
            "auth": {"username": "alice@smtp.test", "oauth": entry}}


class Common(unittest.TestCase):
    def assert_kept(self, login, name, double):
        """In the vault, encrypted, for the owner only; and a gateway refreshes by it."""
        for path in (f"{login.database}.grants", f"{login.database}.grants.key"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)
            with open(path, "rb") as f:
                self.assertNotIn(double.refresh_token.encode(), f.read())
        first = double.refresh_token
        with FakeRelay(takes_tokens(lambda token: token in double.secrets)) as relay:
            with Gateway({"queue": login.settings["queue"], "oauth": login.settings["oauth"],
                          "relays": [relay_of(relay, name)]}) as gateway:
                answer = gateway.post({"from": "alice@smtp.test", "to": "bob@smtp.test",
                                       "subject": "s", "text": "t"}, {"Prefer": "wait=20"})
                self.assertEqual(answer.status, 200, f"{answer.body}\n{gateway.log()}")
        refreshed = [f["refresh_token"] for f in double.asked("/token")
                     if f["grant_type"] == "refresh_token"]
        self.assertEqual(refreshed[:1], [first])

    def assert_nothing_kept(self, login):
        """Only an empty vault may be there: no grant came to be in it."""
        path = f"{login.database}.grants"
        size = os.path.getsize(path) if os.path.exists(path) else 0
        self.assertLess(size, 64)

    def assert_silent(self, login, out, double):
        for secret in double.secrets:
            self.assertNotIn(secret, login.stderr + out)


class Device(Common):
    def test_granted_after_pending_slow_down_and_outages(self):
        polls = ["authorization_pending", "drop", "slow_down", "ok"]
        with OAuthDouble(polls) as double, Login("double", entries=[double.entry()]) as login:
            login.wait_for(r"^ +WDJB-MJHT$")
            self.assertIn(f"{double.url}/activate", login.stderr)
            status, out = login.end()
            self.assertEqual(status, 0, login.stderr)
            times = [at for at, path, _ in double.requests if path == "/token"]
            gaps = [b - a for a, b in zip(times, times[1:])]
            self.assertEqual(len(times), 4)
            self.assertLess(gaps[0], 5)  # interval: 1 s
            self.assertGreater(gaps[1], 1.9)  # an outage makes it rarer
            self.assertGreater(gaps[2], 5.9)  # slow_down: 5 s more
            self.assertEqual(double.asked("/device")[0]["scope"], "smtp offline_access")
            self.assertIn(f"{login.database}.grants", login.stderr)
            self.assertNotIn("waiting", login.stderr)  # progress is for terminals
            self.assert_silent(login, out, double)
            self.assert_kept(login, "double", double)

    def test_ends_told_with_their_reason(self):
        for word, told in (("access_denied", "said no"), ("authorization_declined", "said no"),
                           ("expired_token", "in time"), ("invalid_grant", "invalid_grant")):
            with self.subTest(word=word), OAuthDouble([word]) as double, \
                    Login("double", entries=[double.entry()]) as login:
                status, out = login.end()
                self.assertEqual((status, out), (1, ""))
                self.assertIn("token_refused", login.stderr)
                self.assertIn(told, login.stderr)
                self.assertEqual(len(double.asked("/token")), 1)
                self.assert_nothing_kept(login)

    def test_codes_that_nobody_types_expire(self):
        with OAuthDouble(["authorization_pending"], expires_in=2) as double, \
                Login("double", entries=[double.entry()]) as login:
            self.assertEqual(login.end()[0], 1)
            self.assertIn("timeout", login.stderr)
            self.assertLessEqual(len(double.asked("/token")), 2)

    def test_a_token_endpoint_out_of_order_is_asked_again(self):
        with OAuthDouble(["broken", "ok"]) as double, \
                Login("double", entries=[double.entry()]) as login:
            self.assertEqual(login.end()[0], 0, login.stderr)
            self.assertEqual(len(double.asked("/token")), 2)

    def test_without_a_refresh_token(self):
        with OAuthDouble(refreshes=False) as double, \
                Login("double", entries=[double.entry()]) as login:
            self.assertEqual(login.end()[0], 1)
            self.assertIn("no refresh token", login.stderr)
            self.assertIn("offline_access", login.stderr)
            self.assert_nothing_kept(login)

    def test_a_client_with_a_secret(self):
        with OAuthDouble(client_secret="hush-hush") as double, \
                Login("double", entries=[double.entry(client_secret="hush-hush")]) as login:
            self.assertEqual(login.end()[0], 0, login.stderr)
            self.assertNotIn("hush-hush", login.stderr)
            self.assertNotIn("client_secret", double.asked("/token")[0])

    def test_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number), OAuthDouble(["authorization_pending"]) as double, \
                    Login("double", entries=[double.entry()]) as login:
                login.wait_for("WDJB-MJHT")
                login.process.send_signal(number)
                self.assertEqual(login.end()[0], 1)
                self.assertIn("interrupted", login.stderr)
                self.assert_nothing_kept(login)

    def test_progress_on_a_terminal(self):
        with OAuthDouble(["authorization_pending", "ok"]) as double:
            folder = tempfile.mkdtemp(prefix="login")
            self.addCleanup(shutil.rmtree, folder)
            with open(f"{folder}/postern.yaml", "w", encoding="utf-8") as f:
                json.dump({"oauth": [double.entry()],
                           "queue": {"store": f"sqlite:{folder}/queue.db"}}, f)
            ours, theirs = pty.openpty()
            with subprocess.Popen([POSTERN, "login", "--config", f"{folder}/postern.yaml", "double"],
                                  stdin=theirs, stdout=theirs, stderr=theirs) as process:
                os.close(theirs)
                seen = b""
                try:
                    while more := os.read(ours, 4096):
                        seen += more
                except OSError:  # EIO: the other side is gone
                    pass
                self.assertEqual(process.wait(SECONDS), 0, seen)
            os.close(ours)
            self.assertRegex(seen.decode(), r"\rwaiting, [01]:\d\d left")


class Code(Common):
    def entry(self, double, **more):
        return double.entry(device=False, **more)

    def begin(self, login):
        """The address the person is to open, and the loopback port in it."""
        url = login.wait_for(URL)[1]
        uri = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["redirect_uri"][0]
        return url, int(LOOPBACK.match(uri)[1])

    def test_over_loopback(self):
        with OAuthDouble() as double, \
                Login("double", "--user", "alice@smtp.test", entries=[self.entry(double)]) as login:
            url, port = self.begin(login)
            origin = f"http://127.0.0.1:{port}"
            self.assertEqual(visit(f"{origin}/favicon.ico")[0], 404)
            self.assertEqual(visit(f"{origin}/elsewhere?code=1")[0], 404)
            self.assertEqual(visit(f"{origin}/")[0], 404)
            status, page = visit(url)
            self.assertEqual(status, 200)
            self.assertIn("It worked", page)
            status, out = login.end()
            self.assertEqual(status, 0, login.stderr)
            self.assertEqual(double.asked("/authorize")[0]["login_hint"], "alice@smtp.test")
            self.assertEqual(len(double.asked("/token")), 1)
            with self.assertRaises(OSError):  # it listens no longer
                socket.create_connection(("127.0.0.1", port), 5).close()
            self.assert_silent(login, out, double)
            self.assert_kept(login, "double", double)

    def test_a_browser_is_opened(self):
        with OAuthDouble() as double, tempfile.TemporaryDirectory() as folder:
            browser = os.path.join(folder, "xdg-open")
            with open(browser, "w", encoding="utf-8") as f:
                f.write(BROWSER)
            os.chmod(browser, 0o755)
            env = {"DISPLAY": ":0", "PATH": f"{folder}:{os.environ['PATH']}"}
            with Login("double", entries=[self.entry(double)], env=env) as login:
                self.assertEqual(login.end()[0], 0, login.stderr)
                self.assertIn("A browser opens", login.stderr)
                deadline = time.monotonic() + SECONDS
                while time.monotonic() < deadline:
                    with open(f"{browser}.page", encoding="utf-8") as f:
                        if "It worked" in f.read():
                            return
                    time.sleep(0.05)
                self.fail("the browser saw no page")

    def test_an_answer_to_another_question_is_ignored(self):
        with OAuthDouble(authorize="wrong state") as double, \
                Login("double", entries=[self.entry(double)]) as login:
            url, _ = self.begin(login)
            status, page = visit(url)
            self.assertEqual(status, 400)
            self.assertNotIn("It worked", page)
            login.wait_for("ignored: .*state")
            self.assertEqual(double.asked("/token"), [])
            double.authorize = "ok"
            self.assertEqual(visit(url)[0], 200)
            self.assertEqual(login.end()[0], 0, login.stderr)

    def test_the_person_says_no(self):
        with OAuthDouble(authorize="access_denied") as double, \
                Login("double", entries=[self.entry(double)]) as login:
            url, _ = self.begin(login)
            self.assertIn("refused", visit(url)[1])
            self.assertEqual(login.end()[0], 1)
            self.assertIn("token_refused: access_denied: as the test wants it", login.stderr)
            self.assert_nothing_kept(login)

    def test_a_code_of_somebody_elses(self):
        """Bound to another verifier: the provider refuses it, and nothing is kept."""
        with OAuthDouble() as double, Login("double", "--paste", entries=[self.entry(double)],
                                            stdin=subprocess.PIPE) as login:
            self.begin(login)
            double.codes["stolen"] = ("another challenge", "http://127.0.0.1:49152/")
            login.type("stolen\n")
            self.assertEqual(login.end()[0], 1)
            self.assertIn("token_refused: invalid_grant", login.stderr)
            self.assert_nothing_kept(login)

    def test_visitors_with_bad_manners(self):
        with OAuthDouble() as double, Login("double", entries=[self.entry(double)]) as login:
            url, port = self.begin(login)
            silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(40)]
            for n, junk in enumerate((b"\0" * 20000, b"GET /?" + b"a" * 20000, b"\r\n\r\n",
                                      b"POST / HTTP/1.1\r\n\r\n", b"GET /?code=1\r\n\r\n",
                                      b"GET /?code=%zz&state=& HTTP/1.1\r\n\r\n", b"GET /")):
                try:
                    silent[-1 - n].sendall(junk)
                except OSError:  # it was shown the door already
                    pass
            self.assertEqual(visit(url)[0], 200)
            self.assertEqual(login.end()[0], 0, login.stderr)
            for sock in silent:
                sock.close()

    def test_pasted(self):
        """The whole address, after something else; or the code alone, from a pipe or a file."""
        for alone in (False, True):
            with self.subTest(alone=alone), OAuthDouble() as double, \
                    Login("double", "--paste", entries=[double.entry()],
                          stdin=subprocess.PIPE) as login:
                address = ends_up_at(self.begin(login)[0])
                code = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["code"][0]
                login.type("http://127.0.0.1:49152/?code=of-another&state=another\n")
                login.wait_for("ignored")
                login.type(f"  {code if alone else address}\r\n")
                status, out = login.end()
                self.assertEqual(status, 0, login.stderr)
                self.assertEqual(double.asked("/device"), [])
                self.assert_silent(login, out, double)
                self.assert_kept(login, "double", double)

    def test_pasted_from_a_file(self):
        with OAuthDouble() as double, tempfile.TemporaryFile() as f:
            f.write(b"no-such-code")
            f.seek(0)
            with Login("double", "--paste", entries=[self.entry(double)], stdin=f) as login:
                self.assertEqual(login.end()[0], 1)
                self.assertIn("invalid_grant", login.stderr)
                self.assertEqual(double.asked("/token")[0]["code"], "no-such-code")

    def test_nothing_pasted(self):
        with OAuthDouble() as double, \
                Login("double", "--paste", entries=[self.entry(double)]) as login:
            self.assertEqual(login.end()[0], 1)
            self.assertIn("the input ended", login.stderr)

    def test_a_registered_redirect_uri(self):
        uri = "https://example.com/done"
        with OAuthDouble() as double, Login("double", "--redirect-uri", uri, stdin=subprocess.PIPE,
                                            entries=[self.entry(double)]) as login:
            address = ends_up_at(login.wait_for(URL)[1])
            self.assertTrue(address.startswith(uri))
            login.type(address + "\n")
            self.assertEqual(login.end()[0], 0, login.stderr)
            self.assertEqual(double.asked("/token")[0]["redirect_uri"], uri)


class Behind(Common):
    """What follows once the grant is stored."""

    def login(self, double, *args, good=True, **more):
        with FakeRelay(takes_tokens(lambda token: good and token in double.secrets)) as relay, \
                Login(*args, "double", entries=[double.entry()], relays=[relay_of(relay)],
                      **more) as login:
            status, out = login.end()
            self.assertTrue(os.path.getsize(f"{login.database}.grants") > 64)
            self.assert_silent(login, out, double)
            return status, out, login.stderr, login.database

    def test_proved_with_the_relay(self):
        with OAuthDouble() as double:
            status, out, said, _ = self.login(double)
            self.assertEqual((status, out), (0, ""), said)
            self.assertIn('"r" takes its token: it could send', said)
            self.assertEqual([fields["grant_type"].rsplit(":", 1)[-1]
                              for fields in double.asked("/token")],
                             ["device_code", "refresh_token"])

    def test_the_relay_refuses(self):
        with OAuthDouble() as double:
            status, _, said, _ = self.login(double, good=False)
            self.assertEqual(status, 1)
            self.assertIn("auth_failed", said)

    def test_for_a_program(self):
        with OAuthDouble() as double:
            status, out, said, database = self.login(double, "--json")
            self.assertEqual(status, 0, said)
            self.assertEqual(json.loads(out), {"name": "double", "stored": f"{database}.grants",
                                               "relay": "r", "verified": True})

    def test_what_to_configure(self):
        with OAuthDouble() as double, Login("double", entries=[double.entry()]) as login:
            status, out = login.end()
            self.assertEqual(status, 0, login.stderr)
            self.assertIn('oauth: "double"', out)
            self.assertNotIn("client_id", out)  # the entry is there already

    def test_another_store(self):
        with OAuthDouble() as double, tempfile.TemporaryDirectory() as folder, \
                Login("double", "--store", f"{folder}/q.db", entries=[double.entry()]) as login:
            self.assertEqual(login.end()[0], 0, login.stderr)
            self.assertTrue(os.path.exists(f"{folder}/q.db.grants"))
            self.assertFalse(os.path.exists(f"{login.database}.grants"))

    def test_into_a_gateway(self):
        with OAuthDouble() as double, \
                FakeRelay(takes_tokens(lambda token: token in double.secrets)) as relay, \
                Gateway({"oauth": [double.entry()], "relays": [relay_of(relay)],
                         "api_keys": [{"name": "a", "key": "the-key", "scopes": ["admin"]}]}) as gw:
            url = f"http://127.0.0.1:{gw.port}/"
            for key, name, status in (("wrong", "double", 1), ("the-key", "double", 0),
                                      ("the-key", "other", 1)):
                with self.subTest(key=key, name=name), \
                        Login("--to-gateway", url, name, env={"POSTERN_API_KEY": key},
                              entries=[double.entry(name=name)]) as login:
                    ended, out = login.end()
                    self.assertEqual(ended, status, login.stderr)
                    self.assertFalse(os.path.exists(f"{login.database}.grants"))
                    self.assert_silent(login, out, double)
                    double.refresh_token, last = None, double.refresh_token
                    if status == 0:
                        kept = last
            double.refresh_token = kept
            answer = gw.post({"from": "alice@smtp.test", "to": "bob@smtp.test", "text": "t"},
                             {"Authorization": "Bearer the-key", "Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, f"{answer.body}\n{gw.log()}")
            self.assertNotIn(kept, gw.log())


class Usage(Common):
    def run_it(self, *args, **more):
        with Login(*args, **more) as login:
            status, out = login.end()
            return status, out, login.stderr

    def test_faults_told_before_anybody_logs_in(self):
        with OAuthDouble() as double:
            entries = [double.entry(), double.entry(
                name="app", grant="client_credentials", client_secret="s", scope="smtp")]
            nowhere = double.entry(name="nowhere", device=False)
            del nowhere["authorize_url"]
            for args, status, told in (
                    ((), 2, "usage"),
                    (("double", "more"), 2, "usage"),
                    (("--store", "x", "--to-gateway", "http://127.0.0.1:1", "double"), 2, "usage"),
                    (("--to-gateway", "http://gateway.invalid", "double"), 2, "in the clear"),
                    (("nobody",), 2, 'no oauth entry is named "nobody"'),
                    (("microsoft",), 2, "--client-id"),
                    (("--client-id", "i", "double"), 2, "is configured"),
                    (("app",), 2, "needs no login"),
                    (("nowhere",), 1, "neither device_url nor authorize_url"),
                    (("--store", "memory:", "double"), 2, "give --store"),
                    (("--store", "/nowhere/at/all/q.db", "double"), 3, "/nowhere/at/all"),
                    (("--client-id", "i", "--client-secret-file", "/nowhere/s", "google"), 3,
                     "/nowhere/s"),
                    (("--client-id", "i", "--tenant", "a/b", "microsoft"), 3, "tenant")):
                with self.subTest(args=args):
                    got, out, said = self.run_it(*args, entries=[*entries, nowhere])
                    self.assertEqual((got, out), (status, ""), said)
                    self.assertIn(told, said)
            self.assertEqual(double.requests, [])

    def test_a_provider_without_configuration(self):
        """Whatever is known of Google is in the address the person is sent to."""
        with Login("--client-id", "an id", "--user", "alice@example.com", "google") as login:
            url = urllib.parse.urlsplit(login.wait_for(r"(https://accounts\.google\.com/\S+)")[1])
            asked = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
            login.process.send_signal(signal.SIGINT)
            self.assertEqual(login.end()[0], 1)
            self.assertEqual((asked["access_type"], asked["prompt"], asked["scope"],
                              asked["client_id"], asked["login_hint"]),
                             ("offline", "consent", "https://mail.google.com/", "an id",
                              "alice@example.com"))


class Certified(Peers):
    """The device flow at a server that nobody here wrote."""
    scripts = ("oidc.sh", "dovecot.sh", "postfix.sh")

    def login(self):
        issuer = f"http://127.0.0.1:{self.base + 400}"
        entry = {"name": "certified", "provider": "custom", "grant": "refresh_token",
                 "client_id": "postern-public", "scope": "openid offline_access smtp",
                 "token_url": f"{issuer}/token", "device_url": f"{issuer}/device/auth"}
        return issuer, Login("certified", "--json", entries=[entry])

    def answer(self, issuer, login, **more):
        code = login.wait_for(r"^ +([A-Z]{4}-[A-Z]{4})$")[1]
        query = urllib.parse.urlencode({"user_code": code, **more})
        with urllib.request.urlopen(urllib.request.Request(
                f"{issuer}/test/device?{query}", method="POST"), timeout=10) as response:
            self.assertEqual(response.status, 200)

    def test_approved(self):
        issuer, command = self.login()
        with command as login:
            self.answer(issuer, login)
            status, out = login.end()
            self.assertEqual(status, 0, login.stderr)
            self.assertTrue(json.loads(out)["stored"].endswith("queue.db.grants"))
            with Gateway({"queue": login.settings["queue"], "oauth": login.settings["oauth"]}):
                pass  # it opens what was written

    def test_denied(self):
        issuer, command = self.login()
        with command as login:
            self.answer(issuer, login, deny=1)
            self.assertEqual(login.end(), (1, ""))
            self.assertIn("access_denied", login.stderr)


if __name__ == "__main__":
    unittest.main()
