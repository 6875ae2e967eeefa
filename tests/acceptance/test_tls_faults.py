"""What relays do wrong with TLS (faults D, 83 to 93), by real TLS servers."""
import contextlib
import os
import shutil
import ssl
import subprocess
import time
import unittest

from certificates import Authority, dns_names
from gateway import POSTERN, Gateway
from tls_relay import StallingRelay, TlsRelay, offered_cipher_suites, server_context

MESSAGE = {"from": "a@example.com", "to": ["b@example.net"], "subject": "x", "text": "y\n"}
LOGIN = {"username": "u", "password": "p"}
NAME = "smtp.test"
ABUSER = os.path.join(os.path.dirname(POSTERN), "tls_abuser")


def events(record):
    return [e["type"].removeprefix("message.") for e in record["events"]]


class TlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.good = cls.authority.leaf(f"DNS:{NAME},IP:127.0.0.1")

    def options(self, name=NAME, **more):
        options = {"ca_file": self.authority.file, "server_name": name, **more}
        return {"tls_options": options}

    def gateway(self, relay, name=NAME, **more):
        return Gateway({"queue": {"retry": ["200ms"]},
                        "relays": [relay.settings(**{**self.options(name), **more})]})

    def assert_taken(self, relay, **settings):
        with relay, self.gateway(relay, **settings) as gateway:
            answer = gateway.post(MESSAGE, {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, answer.body.decode() + gateway.log())
            self.assertEqual(len(relay.messages), 1)

    def assert_refused(self, relay, code, **settings):
        """Told as `code` (a pattern); nothing of the message or the login was said, and the message
        waits."""
        with relay, self.gateway(relay, auth=LOGIN, **settings) as gateway:
            id = gateway.post(MESSAGE).json()["id"]
            gateway.wait_for_log("msg=\"relay failure\"")
            self.assertRegex(gateway.log(), f" code=({code}) ")
            self.assertRegex(gateway.get("/v1/relays").body.decode(), f'"code":"({code})"')
            record = gateway.record(id)
            self.assertEqual((record["status"], record["recipients"][0]["attempts"]), ("queued", 0))
            self.assertEqual(relay.arrived, [])
            for session in relay.sessions:
                self.assertFalse([c for c in session.commands
                                  if not c.startswith(("EHLO", "STARTTLS"))])
            return gateway.log()


class Certificates(TlsCase):
    """Faults 86 to 88. RFC 9525, 6.3: names are those of the subjectAltName, a wildcard is a whole
    leftmost label."""

    def test_good_ones_are_taken(self):
        for names, wanted in ((f"DNS:{NAME}", NAME), (f"DNS:*.{NAME}", f"a.{NAME}"),
                              (f"DNS:other.test,DNS:{NAME.upper()}", NAME),
                              ("IP:127.0.0.1", None)):
            for implicit in (True, False):
                with self.subTest(names=names, wanted=wanted, implicit=implicit):
                    self.assert_taken(TlsRelay(self.authority.leaf(names), implicit=implicit),
                                      name=wanted, auth=LOGIN)

    def test_wrong_names_are_refused(self):
        for names, wanted in ((f"DNS:other.test,DNS:x.{NAME}", NAME),
                              ("DNS:*.com", "example.com"),
                              (f"DNS:a.*.{NAME}", f"a.b.{NAME}"),
                              (f"DNS:f*.{NAME}", f"foo.{NAME}"),
                              (f"DNS:*.{NAME}", f"a.b.{NAME}"),
                              (f"DNS:*.{NAME}", NAME),
                              (dns_names(NAME.encode() + b"\0.evil.test"), NAME),
                              (dns_names(b"evil.test\0." + NAME.encode()), NAME),
                              ("email:postmaster@" + NAME, NAME)):
            with self.subTest(names=names, wanted=wanted):
                self.assert_refused(TlsRelay(self.authority.leaf(names)),
                                    "certificate_name_mismatch", name=wanted)

    def test_a_common_name_is_no_name(self):
        for subject, wanted in ((NAME, NAME), ("127.0.0.1", None)):
            with self.subTest(subject):
                self.assert_refused(TlsRelay(self.authority.leaf(None, subject)),
                                    "certificate_name_mismatch", name=wanted)

    def test_an_address_is_no_dns_name(self):  # fault 87
        for names in ("DNS:127.0.0.1", "IP:127.0.0.2", f"DNS:{NAME}"):
            with self.subTest(names):
                self.assert_refused(TlsRelay(self.authority.leaf(names, "127.0.0.1")),
                                    "certificate_name_mismatch", name=None)

    def test_out_of_its_time(self):
        for times, code in (({"ends": "20200201000000Z"}, "certificate_expired"),
                            ({"begins": "20480101000000Z"}, "certificate_not_yet_valid")):
            for implicit in (True, False):
                with self.subTest(code, implicit=implicit):
                    self.assert_refused(TlsRelay(self.authority.leaf(f"DNS:{NAME}", **times),
                                                 implicit=implicit), code)

    def test_untrusted(self):
        whole, without_intermediate = self.authority.chain(f"DNS:{NAME}")
        self.assert_taken(TlsRelay(whole))
        with Authority() as other:
            for what, leaf in (("self-signed", other.leaf(f"DNS:{NAME}", signed=False)),
                               ("unknown authority", other.leaf(f"DNS:{NAME}")),
                               ("incomplete chain", without_intermediate),
                               ("issued by a leaf", self.authority.leaf(f"DNS:{NAME}",
                                                                        issuer=self.good))):
                with self.subTest(what):
                    self.assert_refused(TlsRelay(leaf), "certificate_untrusted")

    def test_weak_ones(self):  # fault 88
        names = f"DNS:{NAME}"
        for what, leaf in (("1024 bits", self.authority.leaf(names, rsa_bits=1024)),
                           ("SHA-1", self.authority.leaf(names, digest="sha1"))):
            with self.subTest(what):
                self.assert_refused(TlsRelay(leaf), "certificate_untrusted")
        self.assert_taken(TlsRelay(self.authority.leaf(names, rsa_bits=2048)))


class Versions(TlsCase):
    """Fault 88."""

    def test_old_versions_are_refused(self):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            for implicit in (True, False):
                with self.subTest(version=version, implicit=implicit):
                    self.assert_refused(TlsRelay(self.good, version=version, implicit=implicit),
                                        "tls_version")

    def test_new_versions_are_taken(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version):
                self.assert_taken(TlsRelay(self.good, version=version))

    def test_min_version(self):
        self.assert_refused(TlsRelay(self.good, version=ssl.TLSVersion.TLSv1_2), "tls_version",
                            **self.options(min_version="1.3"))

    def test_no_weak_cipher_is_offered(self):
        # No server of Debian's has RC4 or 3DES any more to refuse. What is not offered cannot be
        # agreed on.
        with StallingRelay(self.good, 0) as relay, \
                self.gateway(relay, timeouts={"tls": "300ms"}) as gateway:
            gateway.post(MESSAGE)
            deadline = time.monotonic() + 20
            while not relay.hello and time.monotonic() < deadline:
                time.sleep(0.02)
            suites = offered_cipher_suites(relay.hello)
        aes_128_gcm = {0x1301, 0xC02B, 0xC02F}
        rc4 = {0x0004, 0x0005, 0x0018, 0x0066, 0xC002, 0xC007, 0xC00C, 0xC011, 0xC016}
        triple_des = {0x000A, 0x000D, 0x0010, 0x0013, 0x0016, 0x001B, 0xC003, 0xC008, 0xC00D, 0xC012}
        without_encryption = {0x0000, 0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010}
        without_certificate = {0x0034, 0x003A, 0x006C, 0x006D, 0xC018, 0xC019}
        self.assertTrue(suites >= aes_128_gcm, suites)
        self.assertFalse(suites & (rc4 | triple_des | without_encryption | without_certificate))


class Starttls(TlsCase):
    """Faults 83 to 85, where test_relay_faults.py has the refusals in plain text."""

    def test_stripped_on_the_second_connection(self):  # fault 83
        relay = TlsRelay(self.good, implicit=False, stripped=(1,))
        with relay, self.gateway(relay, connections={"max": 1, "max_messages": 1},
                                 auth=LOGIN) as gateway:
            self.assertEqual(gateway.post(MESSAGE, {"Prefer": "wait=20"}).status, 200)
            id = gateway.post(MESSAGE).json()["id"]
            gateway.wait_for_log("code=starttls_not_offered")
            record = gateway.wait_for(id)
            self.assertEqual((events(record), record["recipients"][0]["attempts"]),
                             (["queued", "sent"], 1))
            self.assertEqual([c.split(" ")[0] for c in relay.sessions[1].commands], ["EHLO", "QUIT"])
            self.assertGreater(len(relay.sessions), 2)

    def test_injected_before_the_handshake(self):  # fault 84
        for injected in (b"250 injected\r\n", b"250 injec"):
            for at_once in (True, False):
                with self.subTest(injected=injected, at_once=at_once):
                    relay = InjectingRelay(self.good, injected, at_once)
                    log = self.assert_refused(relay, relay.code)
                    self.assertNotIn("250 injec", log)


class InjectingRelay(TlsRelay):
    """Plain text behind the reply to STARTTLS: in its segment, or when the handshake has begun."""

    def __init__(self, leaf, injected, at_once):
        self.injected, self.at_once = injected, at_once
        # In the handshake it is read as a TLS record that makes no sense.
        self.code = "injected_response"
        super().__init__(leaf, self.inject, implicit=False)

    def inject(self, session, event, argument):
        if event == "other" and argument == "STARTTLS" and self.at_once:
            return "220 go\r\n" + self.injected.decode()
        return None

    def start_tls(self, session):
        session.sock.recv(1)  # of the ClientHello
        session.sock.sendall(self.injected)
        while session.sock.recv(65536):
            pass


class Handshakes(TlsCase):
    """Fault 89: a deadline for the handshake as a whole, not for each octet of it."""

    def test_stalls(self):
        for n_octets in (0, 100):
            with self.subTest(n_octets):
                relay = StallingRelay(self.good, n_octets)
                self.assert_refused(relay, "tls_timeout", timeouts={"tls": "300ms"})
                self.assertGreaterEqual(relay.n_sent, n_octets)  # more by further attempts

    def test_dripped(self):
        relay = StallingRelay(self.good, 100000, gap_s=0.05)
        self.assert_refused(relay, "tls_timeout", timeouts={"tls": "500ms"})
        self.assertGreater(relay.n_sent, 2)


class Ends(TlsCase):
    """Fault 90: an end without close_notify may be an attacker's (RFC 8446, 6.1)."""

    def cut_once(self, reply):
        left = [1]

        def behaviour(session, event, argument):
            if event == "dot" and left:
                left.pop()
                session.send(reply)
                session.wire.flush()
                session.drop()
            return None
        return behaviour

    def test_within_a_reply(self):
        for version, reply in ((ssl.TLSVersion.TLSv1_2, "250 2.0.0 Ok"),
                               (ssl.TLSVersion.TLSv1_3, "250 2.0.0 Ok\r"),
                               (ssl.TLSVersion.TLSv1_3, "250-2.0.0 Ok\r\n")):
            with self.subTest(version=version, reply=reply):
                relay = TlsRelay(self.good, self.cut_once(reply), version=version)
                with relay, self.gateway(relay) as gateway:
                    record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
                    self.assertEqual(events(record), ["queued", "in_doubt", "sent"])

    def test_behind_a_reply(self):
        relay = TlsRelay(self.good, self.cut_once("250 2.0.0 Ok\r\n"))
        with relay, self.gateway(relay) as gateway:
            record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
            self.assertEqual(events(record), ["queued", "sent"])
            self.assertNotIn("relay failure", gateway.log())

    def test_behind_221(self):
        relay = TlsRelay(self.good)
        with relay, self.gateway(relay, connections={"max": 1, "max_messages": 1}) as gateway:
            for _ in range(3):
                record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
                self.assertEqual(events(record), ["queued", "sent"])
            self.assertEqual([s.commands[-1] for s in relay.sessions[:2]], ["QUIT"] * 2)
            self.assertNotIn("relay failure", gateway.log())


class Resumption(TlsCase):
    """Fault 92. Both servers would take each other's tickets: they share the keys of them."""

    def test_a_ticket_stays_with_its_relay(self):
        one_each = {"max": 1, "max_messages": 1}
        first, second = TlsRelay(self.good), TlsRelay(self.good)
        second.context = first.context
        with first, second, Gateway({
                "relays": [first.settings(**self.options(), connections=one_each),
                           second.settings(**{**self.options(), "name": "second"},
                                           connections=one_each)],
                "routes": [{"match": {"to": "*@second.test"}, "relays": ["second"]},
                           {"relays": ["fake"]}]}) as gateway:
            for to in ("a@first.test", "b@first.test", "c@second.test", "d@second.test"):
                record = gateway.wait_for(gateway.post({**MESSAGE, "to": to}).json()["id"])
                self.assertEqual(record["status"], "sent")
            self.assertEqual([s.resumed for s in first.sessions], [False, True])
            self.assertEqual([s.resumed for s in second.sessions], [False, True])


class Files(TlsCase):
    """Fault 93."""

    def deliver(self, gateway):
        record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
        self.assertEqual((events(record), record["recipients"][0]["attempts"]),
                         (["queued", "sent"], 1))

    def test_a_new_authority_counts_and_a_broken_file_does_not(self):
        relay = TlsRelay(self.good)
        with Authority() as other, relay:
            trusted = other.path("trusted.pem")
            shutil.copy(self.authority.file, trusted)
            with self.gateway(relay, connections={"max": 1, "max_messages": 1},
                              **self.options(ca_file=trusted)) as gateway:
                self.deliver(gateway)
                relay.context = server_context(other.leaf(f"DNS:{NAME}"))
                shutil.copy(other.file, trusted)
                self.deliver(gateway)
                other.write("trusted.pem", "no certificate\n")
                time.sleep(1.1)  # files are looked at once a second
                self.deliver(gateway)
                gateway.wait_for_log(trusted)
                self.assertEqual(gateway.get("/readyz").status, 200)


class Abuse(TlsCase):
    """Fault 91. The abuser does it once; then it is a server like any other."""

    @contextlib.contextmanager
    def abuser(self, *what):
        with subprocess.Popen([ABUSER, *self.good, *what], stdout=subprocess.PIPE,
                              text=True) as process:
            try:
                yield process, {"name": "abuser", "host": "127.0.0.1", "tls": "implicit",
                                "port": int(process.stdout.readline()), **self.options()}
            finally:
                process.terminate()

    def deliver(self, *what):
        with self.abuser(*what) as (process, settings), Gateway({
                "queue": {"retry": ["200ms"]}, "relays": [settings]}) as gateway:
            record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
            self.assertEqual(record["status"], "sent")
            return [process.stdout.readline().strip() for _ in range(2)]

    def test_renegotiation(self):
        self.assertEqual(self.deliver("renegotiate"), ["renegotiation refused", "message"])

    def test_a_flood_of_key_updates(self):
        self.assertEqual(self.deliver("key-updates", "10000")[1], "message")


if __name__ == "__main__":
    unittest.main()
