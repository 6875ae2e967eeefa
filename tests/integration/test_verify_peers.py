"""`postern verify` against a real Postfix: what it is told about each of its ports, and that what the
hint says works."""
import json
import os
import re
import subprocess
import unittest

from gateway import POSTERN
from peers import Peers

LOGIN = {"username": "alice@smtp.test", "password": "wonderland"}


class Verify(Peers):
    scripts = ("dovecot.sh", "postfix.sh")

    def certificate(self, name):
        return f"{self.dir}/certs/{name}"

    def verify(self, offset, tls="starttls", auth=LOGIN, **options):
        relay = {"name": "peer", "host": "localhost", "port": self.base + offset, "tls": tls,
                 "auth": auth, "tls_options": {"ca_file": self.certificate("ca.pem"), **options}}
        path = f"{self.dir}/postern.yaml"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"relays": [relay]}, f)
        done = subprocess.run([POSTERN, "verify", "--json", "--config", path],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        self.assertNotIn(b"wonderland", done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if report["ok"] else 1)
        return report

    def assert_ok(self, *args, **more):
        report = self.verify(*args, **more)
        self.assertTrue(report["ok"], report)
        return report

    def assert_trouble(self, code, hint, *args, proved=False, **more):
        error = self.verify(*args, **more)["error"]
        self.assertEqual((error["code"], error["proved"]), (code, proved), error)
        self.assertRegex(error["hint"], hint)
        return error

    def test_it_could_send(self):
        report = self.assert_ok(587)
        self.assertEqual([s["step"] for s in report["steps"]],
                         ["dns", "tcp", "greeting", "ehlo", "starttls", "tls", "ehlo", "auth"])
        self.assertIn("PIPELINING", report["extensions"])
        self.assertIn("SCRAM-SHA-256", report["mechanisms"])
        self.assertIn(report["mechanism"], report["mechanisms"])
        self.assertRegex(report["steps"][2]["detail"], r"\A220 .*Postfix")
        self.assert_ok(465, "implicit")
        self.assert_ok(594)
        self.assert_ok(591)

    def test_a_greeting_that_takes_its_time(self):
        self.assert_ok(24, "none", None)

    def test_tls_modes(self):
        for wrong, right, offset, code in (
                ("starttls", "implicit", 465, "tls_required_from_start"),
                ("none", "implicit", 465, "tls_required_from_start"),
                ("implicit", "starttls", 587, "tls_on_plain_port")):
            with self.subTest(offset=offset, tls=wrong):
                self.assert_trouble(code, f"set tls: {right}: ", offset, wrong, proved=True)
                self.assert_ok(offset, right)

    def test_starttls_not_offered(self):
        self.assert_trouble("starttls_not_offered", "set tls: none, but only inside a network you",
                            26, proved=True)
        self.assert_ok(26, "none")

    def test_no_logins_here(self):
        self.assert_trouble("auth_mechanism_unavailable", "leave out auth.username", 25)
        self.assert_ok(25, auth=None)

    def test_certificates(self):
        error = self.assert_trouble("certificate_name_mismatch", "tls_options.server_name", 588)
        self.assertIn("other.invalid", error["detail"])
        self.assertIn("2020-02-01", self.assert_trouble("certificate_expired", "renew", 589)["detail"])
        self.assertIn("2048-01-01",
                      self.assert_trouble("certificate_not_yet_valid", "clock", 593)["detail"])
        self.assert_trouble("certificate_untrusted", r"tls_options\.ca_file", 590)
        self.assert_ok(590, ca_file=self.certificate("self-signed.pem"))
        error = self.assert_trouble("certificate_untrusted", r"tls_options\.ca_file", 592)
        self.assertIn("postern peers intermediate", error["detail"])

    def test_version(self):
        self.assert_trouble("tls_version", "set tls_options.min_version: \"1.2\"", 595, proved=True,
                            min_version="1.3")
        self.assert_ok(595, min_version="1.2")

    def test_client_certificate(self):
        error = self.verify(466, "implicit", None)["error"]
        self.assertRegex(error["hint"], r"set tls_options\.certificate and tls_options\.key")
        self.assert_ok(466, "implicit", None, certificate=self.certificate("client.pem"),
                       key=self.certificate("client.key"))

    def test_logins(self):
        error = self.assert_trouble("auth_failed", "check auth.username and auth.password", 587,
                                    auth={**LOGIN, "password": "no"})
        self.assertTrue(error["detail"].startswith("535 5.7.8"), error)
        report = self.verify(587, auth={**LOGIN, "mechanism": "plain"})
        self.assertEqual(report["mechanism"], "PLAIN")

    def test_for_a_person(self):
        done = subprocess.run([POSTERN, "verify", f"smtp+none://localhost:{self.base + 28}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(re.search(r"(?m)^greeting +ok .*220 .*Postfix", done.stdout), done.stdout)


if __name__ == "__main__":
    unittest.main()
