"""Every login that real servers have: Dovecot's, Cyrus's, Samba's NTLM, and Kerberos."""
import glob
import os
import re
import shutil
import socket
import subprocess
import time
import unittest

from gateway import Gateway
from kdc import REALM, Kdc
from peers import Peers
from ports import hold_port

ALICE = ("alice@smtp.test", "wonderland")
BOB = ("bob@smtp.test", 'p@ss "w0rd" \\ 100% ünï')


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


class Logins(Peers):
    def relay(self, offset, mechanism, user=None, password=None, **more):
        auth = {"mechanism": mechanism, "username": user, "password": password}
        relay = {"name": "peer", "host": "localhost", "port": self.base + offset, "tls": "starttls",
                 "auth": {k: v for k, v in auth.items() if v is not None}, **more}
        relay["tls_options"] = {"ca_file": f"{self.dir}/certs/ca.pem", **more.get("tls_options", {})}
        return relay

    def gateway(self, relay, env=None):
        return Gateway({"relays": [relay], "log": {"level": "debug"}}, env=env)

    def send(self, relay, maildir, env=None):
        """Sends a message, sees it arrive, and returns its octets and the gateway's log."""
        with self.gateway(relay, env) as g:
            answer = g.post({"from": "alice@smtp.test", "to": ["bob@example.org"], "subject": "in",
                             "text": "y"}, {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, answer.body.decode() + g.log())
            log = g.log()
        secret = relay["auth"].get("password")
        if secret is not None:
            self.assertNotIn(secret, log)
        return self.arrived(answer.json()["message_id"], maildir), log

    def arrived(self, message_id, maildir):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for path in glob.glob(f"{self.dir}/{maildir}/new/*"):
                text = read(path)
                if message_id in text:
                    return text
            time.sleep(0.05)
        raise AssertionError(f"{message_id} did not arrive")

    def refused(self, relay, code, env=None):
        """Nothing goes out, and the log says why."""
        with self.gateway(relay, env) as g:
            id = g.post({"from": "alice@smtp.test", "to": ["bob@example.org"], "subject": "out",
                         "text": "y"}).json()["id"]
            g.wait_for_log(f"code={code}")
            record = g.record(id)
            self.assertEqual((record["status"], record["recipients"][0]["attempts"]), ("queued", 0))
            return g.log()

    def assertLoggedIn(self, log, mechanism):
        self.assertRegex(log, rf'msg="logged in" host=localhost mechanism={mechanism}\b')


class Dovecot(Logins):
    scripts = ("dovecot.sh", "postfix.sh")
    maildir = "postfix/mail/all"

    def methods(self, offset):
        """What Postfix says of the logins on that port, in order."""
        return re.findall(rf"postfix/{self.base + offset}/smtpd\[\d+\]: \w+: client=.*, "
                          r"sasl_method=([\w-]+), sasl_username=(\S+)",
                          read(f"{self.dir}/postfix/log/mail.log"))

    def test_every_mechanism_and_odd_passwords(self):
        for mechanism in ("plain", "login", "cram-md5", "digest-md5", "scram-sha-1",
                          "scram-sha-256"):
            for user, password in (ALICE, BOB):
                if (mechanism, user) == ("digest-md5", BOB[0]):
                    continue  # see test_digest_md5_beyond_ascii
                with self.subTest(mechanism=mechanism, user=user):
                    text, log = self.send(self.relay(587, mechanism, user, password), self.maildir)
                    self.assertEqual(self.methods(587)[-1], (mechanism.upper(), user))
                    self.assertIn(f"(Authenticated sender: {user})", text)
                    self.assertLoggedIn(log, mechanism.upper())

    def test_auto_takes_the_strongest(self):
        self.send(self.relay(587, "auto", *BOB), self.maildir)
        self.assertEqual(self.methods(587)[-1], ("SCRAM-SHA-256", BOB[0]))
        self.send(self.relay(465, "auto", *ALICE, tls="implicit"), self.maildir)
        self.assertEqual(self.methods(465)[-1], ("SCRAM-SHA-256", ALICE[0]))

    def test_wrong_passwords(self):
        for mechanism in ("plain", "login", "cram-md5", "digest-md5", "scram-sha-1",
                          "scram-sha-256"):
            with self.subTest(mechanism=mechanism):
                log = self.refused(self.relay(587, mechanism, ALICE[0], "looking-glass"),
                                   "auth_failed")
                self.assertIn("535 5.7.8", log)
                self.assertNotIn("logged in", log)
                self.assertNotIn("looking-glass", log)

    def test_digest_md5_beyond_ascii(self):
        """Dovecot hashes UTF-8 where RFC 2831, 2.1.2.1 has ISO 8859-1 (Cyrus has it, below)."""
        self.refused(self.relay(587, "digest-md5", *BOB), "auth_failed")

    def test_not_offered(self):
        log = self.refused(self.relay(587, "ntlm", *ALICE), "auth_mechanism_unavailable")
        self.assertIn("SCRAM-SHA-256", log)

    def test_external_by_certificate(self):
        certs = f"{self.dir}/certs"
        options = {"certificate": f"{certs}/client.pem", "key": f"{certs}/client.key"}
        for user in (None, "alice@smtp.test"):
            with self.subTest(user=user):
                relay = self.relay(665, "external", user, tls="implicit", tls_options=options)
                _, log = self.send(relay, self.maildir)
                self.assertLoggedIn(log, "EXTERNAL")
                self.assertRegex(read(f"{self.dir}/dovecot/dovecot.log"),
                                 r"Login: user=<alice@smtp.test>, method=EXTERNAL")


class CyrusAndNtlm(Logins):
    scripts = ("ntlm.sh",)
    maildir = "ntlm/mail/all"

    def methods(self, offset):
        return re.findall(rf"postfix/{self.base + offset}/smtpd\[\d+\]: \w+: client=.*, "
                          r"sasl_method=([\w-]+), sasl_username=(\S+)",
                          read(f"{self.dir}/ntlm/log/mail.log"))

    def seen(self):
        return read(f"{self.dir}/ntlm/v2/seen").splitlines()

    def test_cyrus(self):
        for mechanism in ("scram-sha-256", "scram-sha-1", "digest-md5", "cram-md5", "ntlm", "plain",
                          "login"):
            with self.subTest(mechanism=mechanism):
                _, log = self.send(self.relay(725, mechanism, "alice", "wonderland"), self.maildir)
                self.assertEqual(self.methods(725)[-1][0], mechanism.upper())
                self.assertLoggedIn(log, mechanism.upper())

    def test_cyrus_odd_password(self):
        database = f"{self.dir}/ntlm/sasl/sasldb2"
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", database, "-u", "smtp.test", "bob"],
                       input=BOB[1].encode(), check=True)
        for mechanism in ("scram-sha-256", "digest-md5", "cram-md5", "plain"):
            with self.subTest(mechanism=mechanism):
                self.send(self.relay(725, mechanism, "bob", BOB[1]), self.maildir)
                self.assertEqual(self.methods(725)[-1][0], mechanism.upper())

    def test_cyrus_without_tls(self):
        relay = self.relay(725, "auto", "alice", "wonderland", tls="none")
        self.send(relay, self.maildir)
        self.assertEqual(self.methods(725)[-1][0], "SCRAM-SHA-256")

    def test_cyrus_wrong_password(self):
        for mechanism in ("scram-sha-256", "digest-md5", "ntlm"):
            with self.subTest(mechanism=mechanism):
                self.refused(self.relay(725, mechanism, "alice", "wrong"), "auth_failed")

    def test_samba_sees_version_2(self):
        for user, setting, domain in (("SMTP\\alice", None, "SMTP"), ("alice", "SMTP", "SMTP"),
                                      ("alice", None, "")):
            with self.subTest(user=user, setting=setting):
                relay = self.relay(727, "ntlm", user, "wonderland")
                relay["auth"]["domain"] = setting
                _, log = self.send(relay, self.maildir)
                self.assertRegex(self.seen()[-1],
                                 rf"^NTLMv2 (mic|no-mic) user=alice domain={domain} -> AF ")
                self.assertEqual(self.methods(727)[-1][0], "NTLM")
                self.assertLoggedIn(log, "NTLM")

    def test_samba_wrong_password(self):
        n = len(self.seen())
        self.refused(self.relay(727, "ntlm", "SMTP\\alice", "looking-glass"), "auth_failed")
        self.assertRegex(self.seen()[n], r"^NTLMv2 .* user=alice domain=SMTP -> NA ")


GSSAPI_DOVECOT = """
base_dir = {dir}/gss/run
state_dir = {dir}/gss/state
log_path = {dir}/gss/dovecot.log
auth_verbose = yes
listen = 127.0.0.1
protocols = submission
first_valid_uid = 1
shutdown_clients = yes
hostname = localhost
import_environment = KRB5_CONFIG={krb5_config}
auth_mechanisms = gssapi
auth_krb5_keytab = {keytab}
auth_gssapi_hostname = "$ALL"
auth_username_format = %Lu
auth_failure_delay = 0
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid={group} home={dir}/gss/mail/%u allow_all_users=yes
}}
mail_location = maildir:~/Maildir
ssl = yes
ssl_cert = <{dir}/certs/good.pem
ssl_key = <{dir}/certs/good.key
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
}}
submission_relay_host = 127.0.0.1
submission_relay_port = {relay_port}
submission_relay_trusted = no
"""


class Kerberos(Logins):
    scripts = ("postfix.sh",)
    maildir = "postfix/mail/all"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = os.path.join(cls.dir, "kdc")
        os.mkdir(folder)
        cls.kdc = Kdc(folder, hold_port())
        cls.addClassCleanup(cls.kdc.stop)
        cls.kdc.start()
        cls.kdc.add_user("alice", "wonderland")
        cls.kdc.add_service("smtp/localhost")
        cls.port = hold_port()
        cls.start_dovecot()

    @classmethod
    def start_dovecot(cls):
        for name in ("run", "state", "mail"):
            os.makedirs(f"{cls.dir}/gss/{name}")
        shutil.chown(f"{cls.dir}/gss/mail", "nobody")
        shutil.chown(cls.kdc.keytab, "dovecot")
        os.chmod(cls.kdc.dir, 0o755)
        group = subprocess.run(["id", "-gn", "nobody"], capture_output=True, text=True).stdout
        conf = f"{cls.dir}/gss/dovecot.conf"
        with open(conf, "w", encoding="ascii") as f:
            f.write(GSSAPI_DOVECOT.format(dir=cls.dir, krb5_config=cls.kdc.env["KRB5_CONFIG"],
                                          keytab=cls.kdc.keytab, group=group.strip(), port=cls.port,
                                          relay_port=cls.base + 25))
        subprocess.run(["dovecot", "-c", conf], check=True, stdin=subprocess.DEVNULL)
        cls.addClassCleanup(subprocess.run, ["dovecot", "-c", conf, "stop"])

    def gssapi(self, **more):
        return {**self.relay(0, "gssapi"), "port": self.port, **more}

    def dovecot_log(self):
        return read(f"{self.dir}/gss/dovecot.log")

    def test_ticket(self):
        env = self.kdc.ticket(f"alice@{REALM}", "wonderland", "cache")
        for n, user in enumerate((None, f"alice@{REALM}")):
            relay = self.gssapi()
            if user is not None:
                relay["auth"]["username"] = user
            _, log = self.send(relay, self.maildir, env)
            self.assertLoggedIn(log, "GSSAPI")
            logins = re.findall(r"Login: user=<alice@smtp.test>, method=GSSAPI", self.dovecot_log())
            self.assertEqual(len(logins), n + 1)
        tickets = self.kdc.run("klist", "-c", self.kdc.path("cache"))
        self.assertIn(f"smtp/localhost@{REALM}", tickets)

    def test_no_ticket(self):
        env = {"KRB5_CONFIG": self.kdc.env["KRB5_CONFIG"],
               "KRB5CCNAME": f"FILE:{self.kdc.path('absent')}"}
        log = self.refused(self.gssapi(), "auth_failed", env)
        self.assertIn(self.kdc.path("absent"), log)

    def test_silent_kdc_holds_up_nobody(self):
        """The library waits for it for half a minute; the gateway's threads do not."""
        env = self.kdc.ticket(f"alice@{REALM}", "wonderland", "cache3")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.settimeout(20)
            conf = self.kdc.path("silent.conf")
            with open(conf, "w", encoding="ascii") as f:
                f.write(read(self.kdc.path("krb5.conf")).replace(
                    f":{self.kdc.port}", f":{silent.getsockname()[1]}"))
            relay = self.gssapi()
            with Gateway({"relays": [relay], "drain": "1s"},
                         env={**env, "KRB5_CONFIG": conf}) as g:
                g.post({"from": "alice@smtp.test", "to": ["bob@example.org"], "text": "y"})
                self.assertIn(b"localhost", silent.recv(65536), "a ticket is asked for")
                self.assertEqual(g.term(15), 0)

    def test_no_such_service(self):
        env = self.kdc.ticket(f"alice@{REALM}", "wonderland", "cache2")
        log = self.refused(self.gssapi(host="127.0.0.1"), "auth_failed", env)
        self.assertIn("AUTH GSSAPI: ", log)


if __name__ == "__main__":
    unittest.main()
