"""`postern verify`: each trouble of contract section 7, told with its step, code and hint; and where
the hint names a setting, that setting changed as it says makes it work."""
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import troubles
from gateway import POSTERN
from tls_relay import TlsRelay
from troubles import LOGIN, NAME, Silent, Stage, answers, changed, set_by

HANGS_S = 300  # no verification takes longer than 25 s, on a machine with nothing else to do


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage())
        cls.authority, cls.good = cls.stage.authority, cls.stage.good
        cls.trusted, cls.tls_at = cls.stage.trusted, cls.stage.tls_at
        cls.host_with = cls.stage.host_with

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="postern-verify")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.stage.relays.clear()
        self.n_logins = {}  # that each may see; else one
        self.addCleanup(self.check_manners)

    def check_manners(self):
        """No mail was sent, and nobody logged in twice (a trial with another mechanism counts)."""
        for relay in self.stage.relays:
            said = [c for s in relay.sessions for c in s.commands]
            self.assertEqual([c for c in said if c.startswith(("MAIL", "RCPT", "DATA"))], [])
            self.assertLessEqual(len([c for c in said if c.startswith("AUTH")]),
                                 self.n_logins.get(relay, 1), said)

    def allow_one_more_login(self):
        for relay in self.stage.relays:
            self.n_logins[relay] = self.n_logins.get(relay, 1) + 1

    def fake(self, *args, **more):
        return self.stage.fake(*args, **more)

    def tls(self, *args, **more):
        return self.stage.tls(*args, **more)

    def run_verify(self, *args, env=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("POSTERN_")}
        done = subprocess.run([POSTERN, "verify", *args], env={**clean, **(env or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=HANGS_S)
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertNotIn("hidden", out + err)
        return done.returncode, out, err

    def configure(self, *relays):
        path = os.path.join(self.dir, "postern.yaml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"relays": list(relays)}, f)
        return path

    def verify(self, settings):
        status, out, err = self.run_verify("--json", "--config", self.configure(settings))
        self.assertEqual(err, "")
        report = json.loads(out)
        self.assertEqual(status, 0 if report["ok"] else 1)
        return report

    def assert_ok(self, settings):
        report = self.verify(settings)
        self.assertTrue(report["ok"], report)
        self.assertIsNone(report["error"])
        self.assertTrue(all(s["ok"] for s in report["steps"]))
        return report

    def assert_trouble(self, settings, step, code, hint=None, proved=False, detail="."):
        report = self.verify(settings)
        error = report["error"]
        self.assertFalse(report["ok"])
        self.assertEqual((error["step"], error["code"]), (step, code), report)
        self.assertEqual(error["proved"], proved, report)
        self.assertRegex(error["detail"], detail)
        if hint is None:
            self.assertIsNone(error["hint"], report)
        else:
            self.assertRegex(error["hint"], hint)
        self.assertEqual([s["ok"] for s in report["steps"]],
                         [True] * (len(report["steps"]) - 1) + [False])
        self.assertEqual(report["steps"][-1]["step"], step)
        return error

    def assert_mended(self, settings, step, code, hint):
        """The hint was proved; and changing what it says makes it work."""
        error = self.assert_trouble(settings, step, code, hint, proved=True)
        self.assertTrue(set_by(error["hint"]), error["hint"])
        self.allow_one_more_login()
        self.assert_ok(changed(settings, set_by(error["hint"])))

    def assert_told_and_mended(self, trouble):
        error = self.assert_trouble(trouble.settings, trouble.step, trouble.code, trouble.hint,
                                    trouble.proved, trouble.detail)
        self.allow_one_more_login()
        self.assert_ok(trouble.mended(error["hint"]))


class Works(Case):
    def test_plain(self):
        report = self.assert_ok(self.fake().settings())
        self.assertEqual([s["step"] for s in report["steps"]], ["dns", "tcp", "greeting", "ehlo"])
        self.assertTrue(all(s["ms"] >= 0 for s in report["steps"]))
        self.assertRegex(report["steps"][1]["detail"], r"\A127\.0\.0\.1 port \d+\Z")
        self.assertEqual((report["tls"], report["mechanism"]), (None, None))
        self.assertEqual((report["extensions"], report["mechanisms"]), (["PIPELINING"], ["PLAIN"]))

    def test_starttls_and_login(self):
        relay = self.tls(implicit=False)
        report = self.assert_ok(relay.settings(auth=LOGIN, **self.trusted()))
        self.assertEqual([s["step"] for s in report["steps"]],
                         ["dns", "tcp", "greeting", "ehlo", "starttls", "tls", "ehlo", "auth"])
        certificate = report["tls"]["certificate"]
        self.assertEqual(report["tls"]["version"], "TLSv1.3")
        self.assertEqual(certificate["names"], [NAME, "localhost", "127.0.0.1"])
        self.assertIn("an authority for tests", certificate["issuer"])
        self.assertRegex(certificate["pin"], r"\Asha256/.{44}\Z")
        self.assertTrue(certificate["not_before"].startswith("2020-01-01T"))
        self.assertTrue(certificate["not_after"].startswith("2049-12-31T"))
        self.assertEqual(report["mechanism"], "PLAIN")

    def test_implicit(self):
        relay = self.tls()
        report = self.assert_ok(relay.settings(**self.trusted()))
        self.assertEqual([s["step"] for s in report["steps"]],
                         ["dns", "tcp", "tls", "greeting", "ehlo"])

    def test_auto(self):
        for implicit in (True, False):
            relay = self.tls(implicit=implicit)
            self.assert_ok(relay.settings(**{**self.trusted(), "tls": "auto"}))

    def test_slow_on_purpose(self):
        def behaviour(session, event, argument):
            if event == "connect":
                time.sleep(4)  # longer than we are patient: the other mode is tried meanwhile
        self.assert_ok(self.fake(behaviour).settings())

    def test_a_farewell_nobody_answers(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def behaviour(session, event, argument):
            if event == "quit":
                go.wait(2 * HANGS_S)
        self.assert_ok(self.fake(behaviour).settings())


class Catalogue(Case):
    """The troubles of tests/support/troubles.py; test_diagnosis.py has them in a gateway."""


def told_and_mended(provoke):
    return lambda self: self.assert_told_and_mended(provoke(self.stage))


for each in troubles.PROVOCATIONS:
    setattr(Catalogue, f"test_{each.__name__}", told_and_mended(each))


class GettingThere(Case):
    def test_connect_refused_but_another_port_is_open(self):
        for port, implicit in ((2465, True), (2587, False)):  # and 2525: troubles.py
            with self.subTest(port=port):
                self.assert_told_and_mended(troubles.connect_refused_but_another_port_is_open(
                    self.stage, port, implicit))

    def test_the_usual_ports_are_tried_in_the_usual_order(self):
        host = self.host_with(self.tls_at(True), 465)
        with TlsRelay(self.good, implicit=False, host=host, port=587):
            self.assert_mended({"name": "x", "host": host, "port": 2500, "tls": "starttls",
                                **self.trusted()}, "tcp", "connect_refused",
                               "set port: 465 and tls: implicit")

    def test_source_address(self):
        self.assert_trouble(self.fake().settings(source_address="192.0.2.1"), "tcp", "connect_failed",
                            "set source_address")

    def test_proxy_failed(self):
        """It is none; it refuses."""
        for scheme, says in (("socks5", b"220 hi\r\n"), ("socks5", b"\x05\xff"),
                             ("http", b"HTTP/1.1 407 Who are you?\r\n\r\n")):
            with self.subTest(says=says), Silent(says=says) as proxy:
                self.assert_trouble(self.fake().settings(proxy=f"{scheme}://127.0.0.1:{proxy.port}"),
                                    "proxy", "proxy_failed", "check proxy: 127.0.0.1 ")


class TlsModes(Case):
    def test_tls_required_from_start_where_none_was_wanted(self):
        self.assert_told_and_mended(troubles.tls_required_from_start(self.stage, tls="none"))

    def test_what_waits_behind_tls_is_told_too(self):
        relay = self.tls(self.authority.leaf("DNS:other.test"))
        self.assert_trouble(relay.settings(**{**self.trusted(), "tls": "starttls"}), "greeting",
                            "tls_required_from_start", "set tls: implicit: .*other.test")

    def test_tls_timeout(self):
        with Silent() as silent:
            self.assert_trouble(silent.settings(tls="implicit", timeouts={"tls": "2s"}), "tls",
                                "tls_timeout", "check host and port")

    def test_hangs_up(self):
        with Silent(hangs_up=True) as silent:
            self.assert_trouble(silent.settings(), "greeting", "connection_lost",
                                "check host and port")

    def test_tls_on_plain_port_of_a_server_that_hangs_up_on_it(self):
        def serve(session, event, argument):
            if event == "other" and not argument.isascii():
                session.drop()
            if event == "connect":  # it greets who is silent
                session.sock.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    if session.sock.recv(1, socket.MSG_PEEK):
                        session.drop()
                session.sock.settimeout(None)
        relay = self.tls(behaviour=serve, implicit=False)
        self.assert_mended(relay.settings(**{**self.trusted(), "tls": "implicit"}), "tls",
                           "tls_on_plain_port", "set tls: starttls")

    def test_tls_on_plain_port_without_starttls(self):
        relay = self.fake()
        self.assert_mended(relay.settings(tls="implicit"), "tls", "tls_on_plain_port",
                           "set tls: none, but only inside a network you trust")

    def test_starttls_not_offered_but_elsewhere(self):
        host = self.host_with(lambda h, p: TlsRelay(self.good, host=h, port=p), 2465)
        relay = self.fake(host=host)
        self.assert_mended(relay.settings(**{**self.trusted(), "tls": "starttls"}), "ehlo",
                           "starttls_not_offered", "set port: 2465 and tls: implicit")

    def test_injected_response(self):
        relay = self.tls(implicit=False, behaviour=answers(starttls="220 go\r\n250 injected\r\n"))
        self.assert_trouble(relay.settings(**self.trusted()), "tls", "injected_response",
                            "no other usual port can be reached")


class Certificates(Case):
    def test_name_mismatch_of_somebody_else(self):
        relay = self.tls(self.authority.leaf("DNS:nothing.invalid,DNS:*.other.test"))
        settings = relay.settings(tls_options={"ca_file": self.authority.file})
        error = self.assert_trouble(settings, "tls", "certificate_name_mismatch",
                                    "tls_options.server_name")
        self.assertIn("nothing.invalid, *.other.test", error["detail"])

    def test_self_signed(self):
        leaf = self.authority.leaf(f"DNS:{NAME}", signed=False)
        relay = self.tls(leaf)
        self.assert_trouble(relay.settings(**self.trusted()), "tls", "certificate_untrusted",
                            r"tls_options\.ca_file")
        self.assert_ok(relay.settings(**self.trusted(ca_file=leaf[0])))

    def test_pins(self):
        """The pin that is met by nobody, and the one that verify itself shows."""
        relay = self.tls()
        wrong = "sha256/" + "A" * 43 + "="
        settings = relay.settings(**self.trusted(pins=[wrong]))
        self.assert_trouble(settings, "tls", "certificate_untrusted", r"tls_options\.pins")
        pin = self.verify(settings)["tls"]["certificate"]["pin"]
        self.assert_ok(relay.settings(**self.trusted(pins=[wrong, pin])))

    def test_a_refused_certificate_is_shown(self):
        relay = self.tls(self.authority.leaf("DNS:other.test", ends="20200201000000Z"))
        report = self.verify(relay.settings(**self.trusted()))
        self.assertEqual(report["tls"]["certificate"]["names"], ["other.test"])

    def test_version_too_old_for_us(self):
        relay = self.tls(version=ssl.TLSVersion.TLSv1_1)
        self.assert_trouble(relay.settings(**self.trusted()), "tls", "tls_version",
                            "nothing newer than TLS 1.1")


class Logins(Case):
    def test_mechanism_unavailable_and_then_a_wrong_password(self):
        relay = self.fake(answers(auth="535 5.7.8 wrong\r\n"))
        self.assert_trouble(relay.settings(auth={"mechanism": "login", **LOGIN}), "ehlo",
                            "auth_mechanism_unavailable", "set auth.mechanism: auto: .*535 5.7.8")

    def test_none_of_ours(self):
        relay = self.fake(extensions=("AUTH XYZZY",))
        error = self.assert_trouble(relay.settings(auth=LOGIN), "ehlo", "auth_mechanism_unavailable",
                                    "no mechanism that postern has")
        self.assertIn("XYZZY", error["detail"])

    def test_no_login_here(self):
        relay = self.fake(extensions=("PIPELINING",))
        self.assert_trouble(relay.settings(auth=LOGIN), "ehlo", "auth_mechanism_unavailable",
                            "leave out auth.username")

    def test_failed(self):
        for reply, hint in (
                ("535 5.7.8 no", "check auth.username and auth.password"),
                ("535-5.7.8 Username and Password not accepted.\r\n535 5.7.8 BadCredentials x",
                 "app password"),
                ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
                 "the Mailbox", "Set-CASMailbox .*-SmtpClientAuthenticationDisabled"),
                ("535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
                 "OAuth2")):
            with self.subTest(reply=reply):
                relay = self.tls(behaviour=answers(auth=reply + "\r\n"))
                error = self.assert_trouble(relay.settings(auth=LOGIN, **self.trusted()), "auth",
                                            "auth_failed", hint)
                self.assertTrue(error["detail"].startswith("535 5.7."), error)

    def test_throttled(self):
        relay = self.tls(behaviour=answers(auth="454 4.7.0 Too many login attempts\r\n"))
        self.assert_trouble(relay.settings(auth=LOGIN, **self.trusted()), "auth", "throttled",
                            r"connections\.max")


class Words(Case):
    def test_closing(self):
        """It passes by itself: there is nothing to change."""
        relay = self.fake(answers(connect="421 4.3.0 going down\r\n"))
        self.assert_trouble(relay.settings(), "greeting", "relay_closing")

    def test_relay_refused(self):
        relay = self.fake(answers(connect="554 5.7.1 not you\r\n"))
        error = self.assert_trouble(relay.settings(), "greeting", "relay_refused", "hostname")
        self.assertIn("554 5.7.1 not you", error["detail"])

    def test_no_reply(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def behaviour(session, event, argument):
            if event == "ehlo":
                go.wait(2 * HANGS_S)
        self.assert_trouble(self.fake(behaviour).settings(timeouts={"command": "1s"}), "ehlo",
                            "timeout")


class CommandLine(Case):
    def test_for_a_person(self):
        relay = self.tls(implicit=False)
        path = self.configure(relay.settings(auth=LOGIN, **self.trusted()))
        status, out, err = self.run_verify("--config", path)
        self.assertEqual((status, err), (0, ""))
        for line in (rf"fake +127\.0\.0\.1 port {relay.port}, tls: starttls",
                     rf"tcp +ok +\d+ ms  127\.0\.0\.1 port {relay.port}", r"tls +ok +\d+ ms  TLSv1\.3.*",
                     rf"certificate +{NAME}, localhost, 127\.0\.0\.1", "issuer +.*authority.*",
                     "valid until +2049-12-31", "extensions +PIPELINING.*", "mechanisms +PLAIN",
                     "auth +ok .*PLAIN", "it could send"):
            self.assertRegex(out, rf"(?m)^{line}$")

    def test_trouble_for_a_person(self):
        relay = self.tls(implicit=False)
        path = self.configure(relay.settings(**{**self.trusted(), "tls": "implicit"}))
        status, out, err = self.run_verify("--config", path)
        self.assertEqual((status, err), (1, ""))
        self.assertRegex(out, r"(?m)^tls +FAILED +\d+ ms  ")
        self.assertRegex(out, r"(?m)^tls_on_plain_port: the server answered")
        self.assertRegex(out, r"(?m)^hint, proved: set tls: starttls: port \d+ speaks plain text")
        self.assertNotIn("could send", out)

    def test_by_name(self):
        first, second = self.fake(), self.fake()
        path = self.configure(first.settings(), second.settings(name="other"))
        for args, relay in (((), first), (("fake",), first), (("other",), second)):
            status, out, _ = self.run_verify("--config", path, *args)
            self.assertEqual(status, 0)
            self.assertIn(f"port {relay.port}, tls: none", out)
        status, out, err = self.run_verify("--config", path, "nobody")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("nobody", err)

    def test_by_url(self):
        relay = self.tls(implicit=False)
        env = {"SSL_CERT_FILE": self.authority.file, "POSTERN_LISTEN": "0.0.0.0:1"}
        url = f"smtp://alice:a%20hidden%20word@localhost:{relay.port}?auth=plain"
        status, out, err = self.run_verify("--json", url, env=env)
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(json.loads(out)["mechanism"], "PLAIN")
        url = f"smtp://alice@localhost:{relay.port}"
        env["POSTERN_RELAY_PASSWORD"] = "a hidden word"
        self.allow_one_more_login()
        self.assertEqual(self.run_verify(url, env=env)[0], 0)
        self.assertEqual(self.run_verify(f"smtps://alice@localhost:{relay.port}", env=env)[0], 1)

    def test_by_environment(self):
        relay = self.fake()
        env = {"POSTERN_RELAY": f"smtp+none://127.0.0.1:{relay.port}"}
        self.assertEqual(self.run_verify(env=env)[0], 0)

    def test_usage(self):
        path = self.configure(self.fake().settings())
        for args in (["a", "b"], ["--config"], ["--colour"],
                     ["--config", path, "smtp://localhost"]):
            with self.subTest(args=args):
                status, out, err = self.run_verify(*args)
                self.assertEqual((status, out), (2, ""))
                self.assertIn("usage: postern verify", err)

    def test_configuration(self):
        for args in (["--config", self.configure()],
                     ["--config", self.configure({"name": "x", "host": "x", "colour": "red"})],
                     ["smtp://localhost:x"], ["http://localhost"]):
            with self.subTest(args=args):
                status, out, err = self.run_verify(*args)
                self.assertEqual((status, out), (3, ""))
                self.assertNotEqual(err, "")

    def test_a_broken_ca_file(self):
        path = os.path.join(self.dir, "ca.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write("no certificate\n")
        relay = self.tls()
        path = self.configure(relay.settings(**self.trusted(ca_file=path)))
        status, out, err = self.run_verify("--json", "--config", path)
        self.assertEqual((status, out), (3, ""))
        self.assertRegex(err, r"tls_options: ca_file .*ca\.pem is not PEM")


if __name__ == "__main__":
    unittest.main()
