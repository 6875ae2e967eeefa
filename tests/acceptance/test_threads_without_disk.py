"""No loop touches a disk, a resolver or another process's lock: neither an API thread nor a worker.

The gateway runs under load while all that it reads changes, grants come in and another process
holds the vault; what each thread calls of the C library is noted by tests/support/preload/
note_calls.c.
"""
import fcntl
import json
import os
import threading
import unittest

from certificates import Authority
from fake_relay import FakeRelay
from gateway import POSTERN, Gateway, message, wait_until
from tls_relay import TlsRelay
from token_endpoint import TokenEndpoint

N_GRANTS, N_TRIES = 8, 5

# What a loop may call all the same, with the reason.
EXCEPTIONS = {
    # libuv asks the kernel how it accounts for memory when a loop is made: no disk behind it
    ("open", "/proc"), ("open", "/sys"),
}


def lets_all_in(session, event, argument):
    return "235 2.7.0 in\r\n" if event == "other" and argument.startswith("AUTH") else None


def noting_calls(file):
    """The gateway's environment."""
    preload = os.path.join(os.path.dirname(os.path.abspath(POSTERN)), "note_calls.so")
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": preload, "CALLS": file, "ASAN_OPTIONS": options}


class ThreadsWithoutDisk(unittest.TestCase):
    def setUp(self):
        self.authority = self.enterContext(Authority())
        leaf = self.authority.leaf("IP:127.0.0.1")
        client = self.authority.leaf("DNS:client.test")
        self.certificate, self.key = client
        with open(self.authority.file, encoding="ascii") as f:
            self.pem = f.read()
        self.ca_file = self.authority.write("trusted.pem", self.pem)
        self.tls = self.enterContext(TlsRelay(leaf, lets_all_in))
        self.plain = self.enterContext(FakeRelay(lets_all_in, ("PIPELINING", "AUTH XOAUTH2")))
        self.endpoint = self.enterContext(TokenEndpoint())
        self.gateway = self.enterContext(Gateway(start=False))
        self.calls_file = os.path.join(self.gateway.dir, "calls")
        self.password_file = os.path.join(self.gateway.dir, "password")
        self.replace(self.password_file, "old\n")
        self.gateway.env = noting_calls(self.calls_file)
        self.gateway.configure({
            "oauth": [self.oauth("person", self.endpoint.url(), grant="refresh_token",
                                 refresh_token=self.endpoint.refresh_token),
                      # what answers there is no HTTP, but TLS comes first
                      self.oauth("tls", f"https://127.0.0.1:{self.tls.port}/token",
                                 ca_file=self.ca_file),
                      self.oauth("system", f"https://localhost:{self.tls.port}/token")],
            "relays": [
                self.tls.settings(name="tls", connections={"max": 2, "max_messages": 3},
                                  auth={"username": "u", "password_file": self.password_file},
                                  tls_options={"ca_file": self.ca_file, "key": self.key,
                                               "certificate": self.certificate}),
                # by name, and with the system's authorities, which do not know it
                {"name": "unknown", "host": "localhost", "port": self.tls.port, "tls": "implicit"},
                *(self.plain.settings(name=f"by-{name}", auth={"username": "u", "oauth": name})
                  for name in ("person", "tls", "system"))]})
        self.gateway.start()

    def oauth(self, name, url, **more):
        return {"name": name, "provider": "custom", "grant": "client_credentials", "client_id": "i",
                "client_secret": "the-client-secret", "token_url": url, **more}

    def replace(self, path, text):
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def put_grant(self, token):
        return self.gateway.request("PUT", "/v1/oauth/person/grant",
                                    json.dumps({"refresh_token": token}),
                                    {"Content-Type": "application/json"})

    def while_locked(self):
        """Whether others were answered while all who put a grant waited for the lock."""
        lock = os.open(os.path.join(self.gateway.dir, "queue.db.grants.lock"),
                       os.O_RDWR | os.O_CREAT, 0o600)
        answers = []
        threads = [threading.Thread(target=lambda i=i: answers.append(self.put_grant(f"g{i}").status))
                   for i in range(N_GRANTS)]
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for thread in threads:
                thread.start()
            others = [self.gateway.get(path).status
                      for path in ("/livez", "/v1/relays", "/livez", "/readyz")]
            in_time = len(answers) == 0
        finally:
            os.close(lock)
        for thread in threads:
            thread.join()
        self.assertEqual(others, [200] * 4)
        return in_time, answers

    def change_everything(self, i):
        text = self.pem + "# changed\n" * (i + 1)
        self.replace(self.ca_file, text)
        self.replace(self.password_file, f"new-{i}\n")
        for n in range(3):
            for relay in ("tls", "unknown", "by-person", "by-tls", "by-system"):
                self.gateway.post(message(f"{n}@example.net", relay=relay))
        wait_until(lambda: self.gateway.log().count("password read again") > i and
                   self.gateway.log().count("certificate files loaded anew") > i, 60)

    def calls(self):
        with open(self.calls_file, encoding="utf-8", errors="replace") as f:
            return [line.rstrip("\n").split(" ", 3) for line in f]

    def test_it(self):
        for i in range(3):
            self.change_everything(i)
            for relay in ("tls", "unknown", "by-person"):
                verify = self.gateway.request("POST", f"/v1/relays/{relay}/verify")
                self.assertEqual(verify.status, 200)
        for _ in range(N_TRIES):  # a machine so busy that the vault's patience of 10 s is over: again
            in_time, answers = self.while_locked()
            if in_time:
                break
        self.assertTrue(in_time, "who puts a grant holds up all others")
        self.assertEqual(answers, [200] * N_GRANTS)
        self.assertEqual(self.gateway.wait_for(
            self.gateway.post(message(relay="tls")).json()["id"])["status"], "sent")
        self.assertEqual(self.gateway.term(), 0)
        calls = self.calls()
        loops = {name for kind, name, call, _ in calls if (kind, call) == ("loop", "epoll")}
        self.assertIn("worker", loops)
        self.assertTrue(any(name.startswith("MHD") for name in loops), loops)
        others = {(name, call) for kind, name, call, _ in calls if kind == "other"}
        for seen in (("files", "stat"), ("vault", "flock"), ("vault", "fsync"),
                     ("lookup", "getaddrinfo")):  # so that it is known to see
            self.assertIn(seen, others)
        wrong = {(name, call, path) for kind, name, call, path in calls
                 if kind == "loop" and call != "epoll" and
                 not any(call == c and path.startswith(p) for c, p in EXCEPTIONS)}
        self.assertEqual(wrong, set())


if __name__ == "__main__":
    unittest.main()
