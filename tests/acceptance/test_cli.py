"""The command line: each command from outside, as a person or an init system runs it."""
import base64
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import troubles
from fake_relay import FakeRelay
from gateway import POSTERN, Gateway
from ports import hold_port, nobodys_port

COMMANDS = ("serve", "check", "verify", "send", "key", "version", "help")
MESSAGE = {"from": "alice@example.com", "to": "bob@example.net", "subject": "Hi", "text": "x\n"}


# Root without its rights is refused what its files' modes forbid, as anybody else.
AS_OWNER = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []


def run(*args, env=None, stdin=b"", cwd=None, timeout=90, prefix=()):
    """(exit status, stdout, stderr) with no POSTERN_ variables but those given."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("POSTERN_")}
    done = subprocess.run([*prefix, os.path.abspath(POSTERN), *args], env={**clean, **(env or {})},
                          input=stdin, capture_output=True, cwd=cwd, timeout=timeout)
    return done.returncode, done.stdout.decode(), done.stderr.decode("utf-8", "replace")


class Folder(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="postern-cli")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def put(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)


class Words(unittest.TestCase):
    def test_version(self):
        for args in (["version"], ["--version"]):
            status, out, err = run(*args)
            self.assertEqual((status, err), (0, ""))
            self.assertRegex(out, r"\Apostern \d+\.\d+\.\d+\n\Z")

    def test_help(self):
        for args in (["help"], ["--help"], ["-h"]):
            status, out, err = run(*args)
            self.assertEqual((status, err), (0, ""))
            for command in COMMANDS:
                self.assertRegex(out, rf"(?m)^  {command} +\w")

    def test_help_of_a_command(self):
        for command in COMMANDS:
            for args in (["help", command], [command, "--help"]):
                status, out, err = run(*args)
                self.assertEqual((status, err), (0, ""))
                self.assertTrue(out.startswith(f"usage: postern {command}"), out)

    def test_usage(self):
        for args in ([], ["sevre"], ["help", "sevre"], ["--sevre"], ["serve", "--port", "1"],
                     ["serve", "extra"], ["serve", "--config"], ["check", "extra"],
                     ["check", "--confog", "x"], ["key"], ["key", ""], ["key", "a b"],
                     ["key", "a\nb"], ["key", "x" * 65], ["key", "a", "b"], ["send"],
                     ["send", "--from", "a@b"], ["send", "--to", "a@b"],
                     ["send", "--from", "a@b", "--to", "c@d", "extra"],
                     ["send", "--from", "a@b", "--to", "c@d", "--colour", "red"]):
            with self.subTest(args=args):
                status, out, err = run(*args)
                self.assertEqual((status, out), (2, ""))
                self.assertNotEqual(err, "")
        self.assertIn('there is no command "sevre"', run("sevre")[2])


class Check(Folder):
    def test_good(self):
        path = self.put("c.yaml", "relays: [{name: r, host: h, auth: {username: u, "
                                  "password: s3cret-pass}}]\n"
                                  "api_keys: [{name: k, key: s3cret-key}]\n")
        status, out, err = run("check", "--config", path)
        self.assertEqual((status, err), (0, ""))
        self.assertIn('password: "********"', out)
        self.assertIn("# TLS as understood: starttls", out)
        self.assertNotIn("s3cret", out)
        digest = hashlib.sha256(b"s3cret-key").hexdigest()
        self.assertNotIn(digest, out)
        self.assertEqual(run("check", env={"POSTERN_CONFIG": path})[:2], (0, out))

    def test_bad(self):
        path = self.put("c.yaml", "lissen: x\nrelays:\n  - host: h\n    port: x\n")
        status, out, err = run("check", "--config", path)
        self.assertEqual((status, out), (3, ""))
        self.assertEqual(err.splitlines(), [
            f"postern: lissen: is not a setting; did you mean listen? ({path} line 1)",
            f"postern: relays[0].port: a number from 1 to 65535 is wanted ({path} line 4)"])
        self.assertEqual(run("serve", "--config", path), (3, "", err))
        self.assertEqual(run("send", "--from", "a@b", "--to", "c@d", "--config", path),
                         (3, "", err))

    def test_files_that_cannot_be_read(self):
        for path, why in ((self.path("absent"), "No such file"), (self.dir, "directory"),
                          (self.put("latin1", b"# \xf6\n"), "line 1: "),
                          (self.put("tab", "http:\n\tmax_body: 1\n"), "line 2: ")):
            for command in ("check", "serve"):
                status, out, err = run(command, "--config", path)
                self.assertEqual((status, out), (3, ""))
                self.assertTrue(err.startswith(f"postern: {path}: "), err)
                self.assertIn(why, err)

    def test_unreadable(self):
        path = self.put("c.yaml", "")
        os.chmod(path, 0)
        status, _, err = run("check", "--config", path, prefix=AS_OWNER)
        self.assertEqual(status, 3)
        self.assertIn("Permission denied", err)

    def test_environment_only(self):
        env = {"POSTERN_RELAY": "smtps://u@smtp.example.com", "POSTERN_RELAY_PASSWORD": "s3cret-p",
               "POSTERN_API_KEY_FILE": self.put("key", "s3cret-k\n"), "POSTERN_LISTEN": "0.0.0.0:80",
               "POSTERN_STORE": "memory:", "POSTERN_LOG_LEVEL": "debug",
               "POSTERN_LOG_FORMAT": "json"}
        status, out, err = run("check", env=env)
        self.assertEqual((status, err), (0, ""))
        for text in ('listen: ["0.0.0.0:80"]', 'store: "memory:"', "level: debug", "format: json",
                     "# TLS as understood: implicit", "port: 465"):
            self.assertIn(text, out)
        self.assertNotIn("s3cret", out)
        del env["POSTERN_API_KEY_FILE"]
        status, out, err = run("check", env=env)
        self.assertEqual((status, out), (3, ""))
        self.assertIn("set an API key", err)
        status, out, err = run("check", env={"POSTERN_RELAY": "http://u:s3cret@h"})
        self.assertEqual((status, out), (3, ""))
        self.assertNotIn("s3cret", err)

    def test_what_is_printed_is_a_configuration(self):
        """But for the masked secrets, which it has none of here."""
        path = self.put("c.yaml", "relays: [{host: h, tls_options: {verify: false}}]")
        _, out, _ = run("check", "--config", path)
        again = self.put("again.yaml", out)
        status, out_again, err = run("check", "--config", again)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out_again, out)

    def test_reference(self):
        status, out, err = run("check", "--reference")
        self.assertEqual((status, err), (0, ""))
        for row in ("| `queue.max_age` | `72h` |", "| `relays[].window` | `16` |",
                    "| `relays[].proxy` |", "| `routes[].match.tag` |"):
            self.assertIn(row, out)

    def test_services(self):
        status, out, err = run("check", "--services")
        self.assertEqual((status, err), (0, ""))
        rows = [line for line in out.splitlines() if line.startswith("| `")]
        self.assertGreaterEqual(len(rows), 40)
        for row in rows:
            self.assertEqual(len(row.split(" | ")), 5, row)
        self.assertIn("`office365`", out)

    def test_a_service_says_what_it_filled_in(self):
        path = self.put("c.yaml", "relays: [{name: r, service: office365, port: 587,\n"
                                  "          auth: {username: u, password: s3cret},\n"
                                  "          proxy: 'socks5://u:s3cret@h:1080'}]\n")
        status, out, err = run("check", "--config", path)
        self.assertEqual((status, err), (0, ""))
        self.assertIn('host: "smtp.office365.com"', out)
        self.assertIn("# Filled in by office365: host, connections.max, rate.messages, "
                      "rate.recipients, max_recipients, tls\n", out)
        self.assertIn('proxy: "socks5://u:********@h:1080"', out)
        self.assertNotIn("s3cret", out)

    def test_refused(self):
        relay = "relays: [{name: primary, host: h"
        for text, why in (
                (relay + "}]\nroutes: [{relays: [primry]}]",
                 'routes[0].relays: no relay is named "primry"; did you mean primary?'),
                (relay + "}]\nroutes: [{match: {tag: t}}]",
                 "routes[0].relays: a route leads to at least one relay"),
                (relay + "}]\napi_keys: [{name: k, key: x, relay: other}]",
                 'api_keys[0].relay: no relay is named "other"'),
                (relay + ", rate: {messages: 30}}]",
                 'relays[0].rate.messages: "30" is not a rate such as'),
                (relay + ", proxy: 'ftp://u:s3cret@h:1'}]", "relays[0].proxy: write socks5://"),
                (relay + ", tls_options: {pins: x}}]", 'relays[0].tls_options: pins: "x" is no pin'),
                ("relays: [{service: office356}]",
                 'relays[0].service: "office356" is not a service known here; did you mean '
                 "office365?")):
            with self.subTest(text=text):
                status, out, err = run("check", "--config", self.put("c.yaml", text))
                self.assertEqual((status, out), (3, ""))
                self.assertTrue(err.startswith(f"postern: {why}"), err)
                self.assertNotIn("s3cret", err)


class Samples(Folder):
    ENVIRONMENT = {"POSTERN_SHOP_KEY_SHA256": "0" * 63 + "1", "POSTERN_PROXY_PASSWORD": "s3cret"}

    def check(self, text):
        secret = self.put("secret", "s3cret\n")
        text = re.sub(r"/run/secrets/[a-z-]+", secret, text)
        status, out, err = run("check", "--config", self.put("c.yaml", text),
                               env=self.ENVIRONMENT)
        self.assertEqual((status, err), (0, ""))
        self.assertNotIn("s3cret", out)
        return out

    def test_as_it_stands(self):
        with open("deploy/postern.yaml", encoding="utf-8") as f:
            out = self.check(f.read())
        self.assertEqual(out.count("  - name:"), 2)  # a key, a relay
        self.assertIn("routes: []", out)

    def test_with_what_is_commented_out(self):
        with open("deploy/postern.yaml", encoding="utf-8") as f:
            out = self.check(re.sub(r"(?m)^#(?=\S|  )", "", f.read()))
        self.assertEqual(out.count("  - name:"), 6)  # two more relays, two of oauth
        self.assertIn("# Filled in by ses:eu-west-1: host", out)
        for text in ("messages: [14/s]", "recipients: [100/m, 10000/d]", 'relays: ["bulk"]',
                     'source_address: "192.0.2.1"', 'oauth: "m365"', "grant: jwt_bearer",
                     'proxy: "socks5://gateway:********@proxy.example.com:1080"'):
            self.assertIn(text, out)


class Key(unittest.TestCase):
    def test_made_and_used(self):
        status, out, err = run("key", "billing")
        self.assertEqual((status, err), (0, ""))
        key = out.splitlines()[0]
        digest = hashlib.sha256(key.encode()).hexdigest()
        self.assertRegex(key, r"\Apk_[0-9a-f]{64}\Z")
        self.assertIn(f"  - {{name: billing, sha256: {digest}, scopes: [send, read]}}\n", out)
        self.assertEqual(out.count(key), 1)
        self.assertNotEqual(run("key", "billing")[1], out)
        with Gateway(start=False) as gateway:
            gateway.configure({"api_keys": [{"name": "billing", "sha256": digest,
                                             "scopes": ["send", "read"]}]})
            gateway.start()
            self.assertEqual(gateway.post(MESSAGE).status, 401)
            self.assertEqual(gateway.post(MESSAGE, {"Authorization": "Bearer " + key[:-1]}).status,
                             401)
            self.assertEqual(gateway.post(MESSAGE, {"Authorization": f"Bearer {digest}"}).status,
                             401)
            self.assertEqual(gateway.post(MESSAGE, {"Authorization": f"Bearer {key}"}).status, 202)
            for name in os.listdir(gateway.dir):
                with open(os.path.join(gateway.dir, name), "rb") as f:
                    self.assertNotIn(key.encode(), f.read(), name)

    def test_json(self):
        status, out, _ = run("key", "a", "--json")
        made = json.loads(out)
        self.assertEqual(status, 0)
        self.assertEqual(made["name"], "a")
        self.assertEqual(made["sha256"], hashlib.sha256(made["key"].encode()).hexdigest())


SEND = ("send", "--from", "alice@example.com", "--to", "bob@example.net", "--subject", "Grüße")


class Send(Folder):
    def test_from_here(self):
        with FakeRelay() as relay:
            env = {"POSTERN_RELAY": f"smtp+none://127.0.0.1:{relay.port}"}
            status, out, err = run(*SEND, "--to", "carol@example.net", "--text", "Hello", env=env)
            self.assertEqual((status, err), (0, ""))
            self.assertEqual(out, "bob@example.net: sent: 250 2.0.0 Ok: queued\n"
                                  "carol@example.net: sent: 250 2.0.0 Ok: queued\n")
            sender, recipients, content = relay.messages[0]
            self.assertEqual((sender, recipients),
                             ("alice@example.com", ("bob@example.net", "carol@example.net")))
            self.assertIn(b"\r\n\r\nHello", content)
            status, out, _ = run(*SEND, "--text", "Hello", "--json", env=env)
            self.assertEqual((status, json.loads(out)["status"]), (0, "sent"))

    def test_sandbox(self):
        status, out, err = run(*SEND, "--text", "x")
        self.assertEqual(status, 0)
        self.assertIn("goes to the sandbox", err)

    def test_nothing_is_written(self):
        status, _, _ = run(*SEND, "--text", "x", cwd=self.dir,
                           env={"POSTERN_STORE": "sqlite:" + self.path("queue.db")})
        self.assertEqual((status, os.listdir(self.dir)), (0, []))

    def test_standard_input_html_and_attachments(self):
        html = self.put("page.html", "<p>Grüße</p>")
        data = bytes(range(256)) * 500
        files = [self.put("a b.bin", data), self.put("empty", b"")]
        with Gateway() as gateway:
            url = f"http://127.0.0.1:{gateway.port}/"
            status, out, err = run(*SEND, "--text", "-", "--html", html, "--attach", files[0],
                                   "--attach", files[1], "--to-gateway", url,
                                   stdin="Zeile 1\nZeile 2\n".encode())
            self.assertEqual((status, err), (0, ""))
            self.assertTrue(out.startswith("bob@example.net: sent: 250 "), out)
            seen = gateway.get("/v1/sandbox/messages").json()["data"][0]
            raw = gateway.get(f"/v1/sandbox/messages/{seen['id']}/raw").body
            self.assertEqual((seen["subject"], seen["text"]),
                             ("Grüße", "Zeile 1\r\nZeile 2\r\n"))
            self.assertIn(base64.b64encode(data)[:60], raw)
            self.assertIn(b'filename="a b.bin"', raw)
            self.assertIn(b"filename=empty", raw.replace(b'"', b""))

    def test_what_cannot_be_read(self):
        for args, why in ((("--attach", self.path("absent")), "No such file"),
                          (("--html", self.path("absent")), "No such file"),
                          (("--html", self.dir), ""),
                          (("--text", "-"), "not UTF-8"),
                          (("--text", os.fsdecode(b"\xff")), "not UTF-8"),
                          (("--subject", os.fsdecode(b"\xff")), "not UTF-8"),
                          (("--to", os.fsdecode(b"\xff@b")), "not UTF-8")):
            with self.subTest(args=args):
                status, out, err = run(*SEND, *args, stdin=b"\xff")
                self.assertEqual((status, out), (1, ""))
                self.assertIn(why, err)
                self.assertNotIn("usage", err)

    def test_not_valid(self):
        status, out, err = run("send", "--from", "alice", "--to", "bob@example.net,carol")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("/from: ", err)
        self.assertIn("/to/0: ", err)

    def test_refused_by_the_relay(self):
        status, out, err = run("send", "--from", "a@example.com", "--to", "bounce@sandbox.test",
                               "--to", "ok@sandbox.test", "--subject", "x", "--text", "x")
        self.assertEqual(status, 0)  # one was accepted; each line says its own
        self.assertIn("bounce@sandbox.test: failed: 550 5.1.1", out)
        self.assertIn("ok@sandbox.test: sent: 250", out)
        status, out, err = run("send", "--from", "a@example.com", "--to", "bounce@sandbox.test",
                               "--text", "x")
        self.assertEqual(status, 1)
        self.assertIn("bounce@sandbox.test: failed: 550 5.1.1", out)
        self.assertIn("550 5.1.1", err)

    def test_why_it_was_not_sent(self):
        """In seconds: what is wrong, and what to set."""
        with troubles.Stage() as stage:
            for provoke in (troubles.tls_on_plain_port, troubles.tls_required_from_start,
                            troubles.auth_failed):
                with self.subTest(provoke.__name__):
                    trouble = provoke(stage)
                    config = self.put("c.yaml", json.dumps({"relays": [trouble.settings]}))
                    status, out, err = run(*SEND, "--text", "x", "--config", config, timeout=30)
                    self.assertEqual((status, out), (1, ""))
                    what, hint = err.splitlines()
                    self.assertRegex(what, r"\Apostern: it was not sent: relay \w+, "
                                           rf"{trouble.step}: {trouble.code}: .*{trouble.detail}")
                    proved = ", proved" if trouble.proved else ""
                    start = f"postern: hint{proved}: "
                    self.assertTrue(hint.startswith(start), hint)
                    self.assertRegex(hint[len(start):], trouble.hint)
                    self.assertNotIn("hidden", err)
                    logins = [c for s in stage.relays[-1].sessions for c in s.commands
                              if c.startswith("AUTH")]
                    self.assertLessEqual(len(logins), 1)

    def test_keys(self):
        with Gateway({"api_keys": [{"name": "a", "key": "right-key"},
                                   {"name": "r", "key": "read-key", "scopes": ["read"]}]}) as gateway:
            url = f"http://127.0.0.1:{gateway.port}"
            args = (*SEND, "--text", "x", "--to-gateway", url)
            for key, status, why in (("right-key", 0, ""), ("wrong-key", 1, "key"),
                                     ("read-key", 1, "scope"), ("x" * 2000, 1, ""), (None, 1, "")):
                env = {"POSTERN_API_KEY": key} if key is not None else {}
                got, _, err = run(*args, env=env)
                self.assertEqual(got, status, err)
                self.assertIn(why, err)
                self.assertNotIn("-key", err)

    def test_no_gateway(self):
        url = f"http://127.0.0.1:{nobodys_port()}"
        status, out, err = run(*SEND, "--text", "x", "--to-gateway", url)
        self.assertEqual((status, out), (1, ""))
        self.assertIn(url, err)
        for bad in ("", "file:///etc/passwd", "smtp://127.0.0.1", "http://"):
            status, out, err = run(*SEND, "--text", "x", "--to-gateway", bad)
            self.assertEqual((status, out), (2, ""))
            self.assertNotEqual(err, "")

    def test_no_key_in_the_clear(self):
        """By http:// to this machine only, and past any proxy; elsewhere if it is said that it may."""
        for away in ("http://gateway.invalid:8080", "HTTP://gateway.invalid", "http://192.0.2.1",
                     "http://127.0.0.1.gateway.invalid", "http://127.0.0.1@gateway.invalid/",
                     "http://[2001:db8::1]:8080", "http://localhost.invalid"):
            with self.subTest(url=away):
                status, out, err = run(*SEND, "--text", "x", "--to-gateway", away,
                                       env={"POSTERN_API_KEY": "the-key"})
                self.assertEqual((status, out), (2, ""))
                self.assertIn("in the clear: write https://", err)
                self.assertNotIn("the-key", err)
        status, _, err = run(*SEND, "--text", "x", "--allow-plaintext", "--to-gateway",
                             "http://gateway.invalid:8080")
        self.assertEqual(status, 1, err)
        self.assertNotIn("in the clear", err)
        key = self.put("key", "right-key\n")
        with Gateway({"api_keys": [{"name": "a", "key": "right-key"}]}) as gateway:
            for host in ("127.0.0.1", "localhost"):
                for env in ({"POSTERN_API_KEY": "right-key\r\n"}, {"POSTERN_API_KEY_FILE": key}):
                    with self.subTest(host=host, env=env):
                        status, _, err = run(
                            *SEND, "--text", "x", "--to-gateway", f"http://{host}:{gateway.port}",
                            env={**env, "http_proxy": f"http://127.0.0.1:{nobodys_port()}"})
                        self.assertEqual(status, 0, err)
        for env in ({"POSTERN_API_KEY": "a\nb"}, {"POSTERN_API_KEY_FILE": "/nowhere/key"}):
            status, _, err = run(*SEND, "--text", "x", "--to-gateway", "http://127.0.0.1:1", env=env)
            self.assertEqual(status, 3, err)


class Serve(Folder):
    def start_fails(self, settings, status, *words):
        path = self.put("serve.yaml", json.dumps(settings))
        got, out, err = run("serve", "--config", path)
        self.assertEqual((got, out), (status, ""), err)
        self.assertTrue(err.startswith("postern: "), err)
        for word in words:
            self.assertIn(word, err)
        return err

    def settings(self, store="memory:", port=None):
        return {"listen": f"127.0.0.1:{port or 0}", "queue": {"store": store}}

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            self.start_fails(self.settings(port=port), 1, f"127.0.0.1:{port}", "in use")

    def test_unix_socket(self):
        path = self.path("api.sock")
        with Gateway(start=False) as gateway:
            gateway.configure({"listen": [f"unix:{path}", "127.0.0.1:0"]})
            gateway.start()
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 200 "))
            self.start_fails({"listen": f"unix:{path}", "queue": {"store": "memory:"}}, 1, path)
            self.assertEqual(gateway.term(), 0)
            self.assertFalse(os.path.exists(path))

    def test_stores_that_cannot_be(self):
        self.start_fails(self.settings("sqlite:" + self.path("absent/queue.db")), 3,
                         self.path("absent"))
        os.mkdir(self.path("folder"))
        self.start_fails(self.settings("sqlite:" + self.path("folder")), 3, self.path("folder"))
        junk = self.put("junk.db", "this is no database, and somebody may want it " * 50)
        self.start_fails(self.settings("sqlite:" + junk), 3, junk)
        with open(junk) as f:
            self.assertTrue(f.read().startswith("this is no database"))
        self.start_fails(self.settings("redis:x"), 3, "queue.store")

    def test_second_process_on_the_same_store(self):
        with Gateway() as gateway:
            err = self.start_fails(self.settings(f"sqlite:{gateway.dir}/queue.db"), 3, "queue.db")
            self.assertRegex(err, "another postern has")
            self.assertEqual(gateway.post(MESSAGE, {"Prefer": "wait=20"}).status, 200)
            gateway.restart()  # a lock does not outlive its process
            self.assertEqual(gateway.post(MESSAGE).status, 202)

    def test_read_only_store(self):
        with Gateway() as gateway:
            gateway.post(MESSAGE)
            gateway.term()
            shutil.copy(f"{gateway.dir}/queue.db", self.path("queue.db"))
        os.chmod(self.path("queue.db"), 0o444)
        os.chmod(self.dir, 0o555)
        path = self.path("queue.db")
        before = os.stat(path)
        done = subprocess.run(
            [*AS_OWNER, os.path.abspath(POSTERN), "serve"], capture_output=True, text=True, timeout=60,
            env={"POSTERN_STORE": f"sqlite:{path}", "POSTERN_LISTEN": "127.0.0.1:0",
                 "PATH": os.environ["PATH"]})
        os.chmod(self.dir, 0o755)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("queue.db", done.stderr)
        self.assertEqual(os.stat(path).st_mtime_ns, before.st_mtime_ns)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Gateway() as gateway:
                gateway.process.send_signal(number)
                self.assertEqual(gateway.process.wait(30), 0)
                self.assertIn("msg=ended orderly=yes", gateway.log())

    def test_reload_does_not_end_it(self):
        with Gateway() as gateway:
            gateway.process.send_signal(signal.SIGHUP)
            gateway.wait_for_log("reload")
            self.assertEqual(gateway.post(MESSAGE, {"Prefer": "wait=20"}).status, 200)
            self.assertEqual(gateway.term(), 0)

    def stuck(self, drain):
        """A gateway with a transaction whose final reply does not come."""
        release = threading.Event()

        def behaviour(session, event, argument):
            if event == "dot":
                release.wait(60)
        relay = FakeRelay(behaviour)
        relay.__enter__()
        self.addCleanup(relay.__exit__, None, None, None)
        self.addCleanup(release.set)
        gateway = Gateway({"drain": drain, "queue": {"retry": ["1s"]}, "relays": [
            {"name": "r", "host": "127.0.0.1", "port": relay.port, "tls": "none"}]})
        self.addCleanup(gateway.close)
        id = gateway.post(MESSAGE).json()["id"]
        deadline = time.monotonic() + 20
        while not relay.arrived and time.monotonic() < deadline:
            time.sleep(0.02)
        return gateway, relay, release, id

    def test_drain_waits_for_what_is_under_way(self):
        gateway, relay, release, id = self.stuck("60s")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for_log("msg=draining")
        release.set()
        self.assertEqual(gateway.process.wait(30), 0)
        gateway.configure({"relays": [], "sandbox": "on"})
        gateway.start()
        self.assertEqual(gateway.record(id)["status"], "sent")
        self.assertEqual(len(relay.arrived), 1)

    def test_drain_has_an_end(self):
        gateway, relay, release, id = self.stuck("500ms")
        self.assertEqual(gateway.term(30), 0)
        self.assertIn("ended with transactions or verifies under way", gateway.log())
        release.set()
        gateway.start()
        record = gateway.wait_for(id, ("sent",))
        self.assertEqual(record["status"], "sent")
        self.assertIn("message.in_doubt", [e["type"] for e in record["events"]])

    def test_a_second_signal_ends_it_at_once(self):
        gateway, _, _, id = self.stuck("600s")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for_log("msg=draining")
        self.assertEqual(gateway.term(30), 0)
        self.assertIn("ended with transactions or verifies under way", gateway.log())


LOGFMT_PAIR = re.compile(r'([a-z0-9_]+)=("(?:[^"\\]|\\.)*"|[^ "=\\]+)')


def parse_logfmt(line):
    pairs, at = {}, 0
    while at < len(line):
        match = LOGFMT_PAIR.match(line, at)
        if match is None or match[1] in pairs:
            raise ValueError(f"not logfmt at {at}: {line}")
        value = match[2]
        pairs[match[1]] = json.loads(value) if value.startswith('"') else value
        at = match.end()
        if at < len(line) and line[at] != " ":
            raise ValueError(f"not logfmt at {at}: {line}")
        at += 1
    return pairs


def auth_reply(session, event, argument):
    return "235 2.7.0 Ok\r\n" if argument[:4] == "AUTH" and event == "other" else None


class Logs(unittest.TestCase):
    SECRETS = ("planted-password", "planted-key", "planted-wrong-key", "planted-subject",
               "planted-text", "planted-header", "planted-attachment", "planted-metadata")

    def check_log(self, format, parse):
        with FakeRelay(auth_reply, ("AUTH PLAIN LOGIN",)) as relay:
            gateway = Gateway({
                "log": {"level": "debug", "format": format},
                "api_keys": [{"name": "k", "key": "planted-key", "scopes": ["admin"]}],
                "relays": [{"name": "r", "host": "127.0.0.1", "port": relay.port, "tls": "none",
                            "auth": {"username": "u", "password": "planted-password"}}]})
            with gateway:
                self.talk(gateway)
                self.assertEqual(gateway.term(), 0)
                lines = gateway.log().splitlines()
            self.assertTrue(any(c.startswith("AUTH") for s in relay.sessions for c in s.commands))
        self.assertGreater(len(lines), 5)
        for line in lines:
            record = parse(line)
            self.assertLessEqual({"ts", "level", "msg"}, set(record), line)
            self.assertIn(record["level"], ("debug", "info", "warn", "error"))
            self.assertRegex(record["ts"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        log = "\n".join(lines)
        encoded = [base64.b64encode(s.encode()).decode().rstrip("=") for s in (
            "planted-password", "\0u\0planted-password")]
        digest = hashlib.sha256(b"planted-key").hexdigest()
        for secret in (*self.SECRETS, *encoded, digest):
            self.assertNotIn(secret, log)
        return lines

    def talk(self, gateway):
        good = {"Authorization": "Bearer planted-key", "Prefer": "wait=20"}
        message = {**MESSAGE, "subject": "planted-subject", "text": "planted-text",
                   "html": "<p>planted-text</p>", "headers": {"X-A": "planted-header"},
                   "metadata": {"a": "planted-metadata"},
                   "attachments": [{"filename": "planted-attachment",
                                    "content": base64.b64encode(b"planted-text").decode()}]}
        answer = gateway.post(message, good)
        self.assertEqual(answer.status, 200, answer.body)
        gateway.post(message, {"Authorization": "Bearer planted-wrong-key"})
        gateway.post({**message, "bogus": "planted-text"}, good)
        gateway.post('{"text": "planted-text', good)
        gateway.get("/v1/messages/msg_0", good)
        gateway.request("GET", "/v1/messages?q=%0aplanted%20%22=%22", headers={
            **good, "X-Request-Id": 'a" level=error msg="forged'})
        gateway.request("GET", '/a"b=c%0d%0ad', headers=good)

    def test_logfmt(self):
        self.check_log("logfmt", parse_logfmt)

    def test_json(self):
        self.check_log("json", json.loads)

    def test_replies_cannot_forge_lines(self):
        def behaviour(session, event, argument):
            if event == "rcpt":
                return '550 no" level=error msg="forged\x1b[31m\\\r\n'
        for format, parse in (("logfmt", parse_logfmt), ("json", json.loads)):
            with FakeRelay(behaviour) as relay, Gateway({
                    "log": {"level": "debug", "format": format},
                    "relays": [{"name": "r", "host": "127.0.0.1", "port": relay.port,
                                "tls": "none"}]}) as gateway:
                self.assertEqual(gateway.post(MESSAGE, {"Prefer": "wait=20"}).status, 502)
                gateway.term()
                for line in gateway.log().splitlines():
                    self.assertNotEqual(parse(line)["msg"], "forged")
                    self.assertNotIn("\x1b", line)


class FullDisk(unittest.TestCase):
    """A limit on the size of files stands for the disk: beyond it every write to the store fails."""

    LIMIT = 3 << 20

    def test_full_and_room_again(self):
        room = threading.Event()  # until then nothing goes out, so nothing is freed

        def slow(session, event, argument):
            if event == "dot":
                room.wait(300)
            return None

        relay = FakeRelay(slow)
        with relay, Gateway(start=False) as gateway:
            gateway.configure({"relays": [{"name": "r", "host": "127.0.0.1", "port": relay.port,
                                           "tls": "none"}],
                               "queue": {"retry": ["1s"]}, "log": {"level": "warn"},
                               "listen": f"127.0.0.1:{hold_port()}"})
            gateway.start()
            gateway.get("/readyz")
            accepted = self.fill(gateway)
            room.set()
            self.assertEqual(gateway.get("/livez").status, 200)
            self.assertIsNone(gateway.process.poll())
            resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE,
                             (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            deadline = time.monotonic() + 30
            while (answer := gateway.post(MESSAGE)).status == 503:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            self.assertEqual(answer.status, 202, answer.body)
            accepted.append(answer.json()["id"])
            for id in accepted:
                self.assertEqual(gateway.wait_for(id)["status"], "sent")
            ids = [self.id_of(content) for _, _, content in relay.messages]
            expected = [gateway.record(id)["message_id"] for id in accepted]
            self.assertEqual(set(expected), set(ids))  # none lost; none that was refused
            self.assertEqual(gateway.get("/readyz").status, 200)
            self.assertEqual(gateway.term(), 0)
            gateway.start()
            for id in accepted:
                self.assertEqual(gateway.record(id)["status"], "sent")

    @staticmethod
    def id_of(content):
        return re.search(rb"(?im)^Message-ID: *(?:\r\n )?(<.*?>)", content)[1].decode()

    def fill(self, gateway):
        """The ids of what was accepted until there was no more room."""
        hard = resource.RLIM_INFINITY
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (self.LIMIT, hard))
        accepted, refused = [], 0
        body = {**MESSAGE, "text": "0123456789abcdef\n" * 20000}
        for _ in range(60):
            answer = gateway.post(body)
            if answer.status == 202:
                accepted.append(answer.json()["id"])
                continue
            refused += 1
            self.assertEqual(answer.status, 503, answer.body)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            self.assertTrue(answer.headers["Content-Type"].startswith("application/problem+json"))
            self.assertEqual(answer.json()["status"], 503)
            if refused == 5:
                break
        self.assertGreater(len(accepted), 0)
        self.assertEqual(refused, 5)
        return accepted

    def test_less_than_min_free(self):
        with Gateway({"queue": {"min_free": "8000000GiB"}}) as gateway:
            answer = gateway.post(MESSAGE)
            self.assertEqual(answer.status, 503)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            self.assertEqual(gateway.get("/readyz").status, 503)
            self.assertEqual(gateway.get("/livez").status, 200)


if __name__ == "__main__":
    unittest.main()
