"""Chains of certificates, and what is said of those that cannot be trusted: with leaf, intermediate and
root made by openssl."""
import ssl
import unittest

from certificates import Authority
from gateway import Gateway
from ports import hold_port
from test_verify import Case
from troubles import NAME


class Trusted(Case):
    """What the user hands us is trusted, be it no root."""

    def test_an_intermediate_or_the_leaf_itself(self):
        intermediate = self.authority.leaf(None, "Lab Intermediate", authority=True)
        leaf = self.authority.leaf(f"DNS:{NAME}", issuer=intermediate)
        whole = self.authority.path("whole.pem")
        with open(whole, "wb") as out:
            for part in (leaf[0], intermediate[0]):
                with open(part, "rb") as f:
                    out.write(f.read())
        for chain in ((whole, leaf[1]), leaf):
            for ca_file in (intermediate[0], leaf[0]):
                with self.subTest(chain=chain[0], ca_file=ca_file):
                    self.assert_ok(self.tls(chain).settings(**self.trusted(ca_file=ca_file)))

    def test_one_that_signed_itself(self):
        leaf = self.authority.leaf(f"DNS:{NAME}", signed=False)
        self.assert_trouble(self.tls(leaf).settings(**self.trusted()), "tls", "certificate_untrusted",
                            "signed by itself: .*set tls_options.ca_file to it")
        self.assert_ok(self.tls(leaf).settings(**self.trusted(ca_file=leaf[0])))

    def test_another_leaf_of_the_same_authority_is_not_trusted_by_that(self):
        with Authority() as other:
            relay = self.tls(other.leaf(f"DNS:{NAME}"))
            self.assert_trouble(relay.settings(**self.trusted(ca_file=self.good[0])), "tls",
                                "certificate_untrusted", r"tls_options\.ca_file")

    def test_names_count_though_the_leaf_is_given(self):
        leaf = self.authority.leaf("DNS:other.test")
        self.assert_trouble(self.tls(leaf).settings(**self.trusted(ca_file=leaf[0])), "tls",
                            "certificate_name_mismatch", "other.test|server_name")

    def test_a_trailing_dot_is_for_the_resolver(self):
        """One in server_name stands for one in host, which this machine's resolver need not know."""
        seen = []
        relay = self.tls(self.authority.leaf("DNS:*.lab.test"))
        relay.context.sni_callback = lambda sock, name, context: seen.append(name)
        self.assert_ok(relay.settings(**self.trusted(server_name="a.lab.test.")))
        self.assertEqual(set(seen), {"a.lab.test"})

    def test_an_internationalised_name_is_meant_in_a_labels(self):
        seen = []
        relay = self.tls(self.authority.leaf("DNS:xn--bro-hoa.lab.test"))
        relay.context.sni_callback = lambda sock, name, context: seen.append(name)
        self.assert_ok(relay.settings(**self.trusted(server_name="büro.lab.test")))
        self.assertEqual(set(seen), {"xn--bro-hoa.lab.test"})


class Told(Case):
    def untrusted(self, leaf, hint, detail=".", **options):
        return self.assert_trouble(self.tls(leaf).settings(**self.trusted(**options)), "tls",
                                   "certificate_untrusted", hint, detail=detail)

    def test_a_missing_intermediate_is_named(self):
        intermediate = self.authority.leaf(None, "Lab Intermediate", authority=True)
        leaf = self.authority.leaf(f"DNS:{NAME}", issuer=intermediate)
        self.untrusted(leaf, "does not send the certificate of CN = Lab Intermediate",
                       "its issuer is CN = Lab Intermediate")

    def test_an_unknown_root_is_named(self):
        with Authority() as other:
            (whole, key), _ = other.chain(f"DNS:{NAME}")
            self.untrusted((whole, key), r"tls_options\.ca_file",
                           "CN = an intermediate, above the server's own, is issued by CN = an authority")

    def test_an_expired_intermediate_by_its_own_name_and_date(self):
        intermediate = self.authority.leaf(None, "Old Intermediate", authority=True,
                                           ends="20240101000000Z")
        leaf = self.authority.leaf(f"DNS:{NAME}", issuer=intermediate, ends="20481228000000Z")
        whole = self.authority.path("expired.pem")
        with open(whole, "wb") as out:
            for part in (leaf[0], intermediate[0]):
                with open(part, "rb") as f:
                    out.write(f.read())
        settings = self.tls((whole, leaf[1])).settings(**self.trusted())
        error = self.assert_trouble(settings, "tls", "certificate_expired",
                                    "authority between the server and the root",
                                    detail="CN = Old Intermediate, .*it was good until 2024-01-01")
        self.assertNotIn("2048", error["detail"])

    def test_weak_ones_are_the_operator_s(self):
        for more in ({"rsa_bits": 1024}, {"digest": "sha1"}):
            with self.subTest(more):
                self.untrusted(self.authority.leaf(f"DNS:{NAME}", **more), "no setting takes so weak")

    def test_a_common_name_alone(self):
        self.assert_trouble(self.tls(self.authority.leaf(None, NAME)).settings(**self.trusted()),
                            "tls", "certificate_name_mismatch", "has to renew it with one")

    def test_old_tls_only(self):
        relay = self.tls(version=ssl.TLSVersion.TLSv1)
        error = self.verify(relay.settings(**self.trusted()))["error"]
        self.assertEqual(error["code"], "tls_version", error)
        self.assertRegex(error["hint"], "nothing newer than TLS 1.1")

    def test_the_log_of_the_gateway_says_the_same(self):
        intermediate = self.authority.leaf(None, "Lab Intermediate", authority=True)
        relay = self.tls(self.authority.leaf(f"DNS:{NAME}", issuer=intermediate))
        with Gateway({"relays": [relay.settings(**self.trusted())]}) as gateway:
            gateway.post({"from": "a@example.com", "to": "b@example.net", "text": "x"})
            gateway.wait_for_log("CN = Lab Intermediate")


class BehindStarttls(Case):
    """Where STARTTLS was offered nobody is told to do without TLS, nor that there is none."""

    def told(self, relay, code, **more):
        error = self.assert_trouble(relay.settings(**{**self.trusted(), **more}), "tls", code,
                                    "offers STARTTLS, but the handshake behind it fails")
        self.assertNotIn("none", error["hint"])
        return error

    def test_no_common_cipher(self):
        relay = self.tls(implicit=False)
        relay.context.maximum_version = ssl.TLSVersion.TLSv1_2
        relay.context.set_ciphers("NULL-SHA256:@SECLEVEL=0")
        self.told(relay, "tls_failed")

    def test_it_hangs_up(self):
        def behaviour(session, event, argument):
            if argument.upper() == "STARTTLS":
                session.send("220 go ahead\r\n")
                session.drop()
            if event == "ehlo":
                return "250-fake\r\n250 STARTTLS\r\n"
        self.told(self.fake(behaviour), "connection_lost", tls="starttls")

    def test_it_says_nothing(self):
        def behaviour(session, event, argument):
            if argument.upper() == "STARTTLS":
                session.send("220 go ahead\r\n")
                while session.wire.receive():
                    pass
                session.drop()
            if event == "ehlo":
                return "250-fake\r\n250 STARTTLS\r\n"
        self.told(self.fake(behaviour), "tls_timeout", tls="starttls", timeouts={"tls": "1s"})

    def test_by_another_mode(self):
        """Configured as implicit: plain text is there, and STARTTLS that fails."""
        def behaviour(session, event, argument):
            if argument.upper() == "STARTTLS":
                session.send("220 go ahead\r\n")
                session.drop()
            if event == "ehlo":
                return "250-fake\r\n250 STARTTLS\r\n"
        error = self.verify(self.fake(behaviour).settings(**{**self.trusted(), "tls": "implicit"}))["error"]
        self.assertFalse(error["proved"])
        self.assertRegex(error["hint"], "offers STARTTLS, but the handshake behind it fails")


class Hosts(Case):
    def test_in_brackets(self):
        """Not a name for the resolver."""
        report = self.verify({"name": "x", "host": "[::1]", "port": hold_port(), "tls": "starttls"})
        self.assertEqual(report["error"]["step"], "tcp")


del Case  # its tests are test_verify.py's


if __name__ == "__main__":
    unittest.main()
