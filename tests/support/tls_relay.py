"""Relays that speak TLS, and some that only pretend to."""
import ssl
import time
import warnings

from fake_relay import FakeRelay, ehlo_reply, usual
from wire import Dropped

EXTENSIONS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "AUTH PLAIN")


def server_context(leaf, version=None):
    """As permissive as it can be: what is refused, the client refuses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the versions we offer
            context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*leaf)
    return context


class TlsRelay(FakeRelay):
    """`leaf`: (certificate, key). The connections numbered in `stripped` offer no STARTTLS."""

    def __init__(self, leaf, behaviour=usual, implicit=True, version=None, stripped=(), **more):
        self.context, self.implicit, self.stripped = server_context(leaf, version), implicit, stripped
        super().__init__(behaviour, EXTENSIONS, **more)

    def opened(self, session):
        if self.implicit:
            self.start_tls(session)

    def start_tls(self, session):
        session.wire.start_tls(self.context)
        session.resumed = session.sock.session_reused

    def offers_tls(self, session):
        number = self.sessions.index(session)
        return not isinstance(session.sock, ssl.SSLSocket) and number not in self.stripped

    def offer(self, session):
        tls = ["STARTTLS"] if self.offers_tls(session) else []
        return ehlo_reply(["fake", *EXTENSIONS, *tls])

    def settings(self, **more):
        return super().settings(**{"tls": "implicit" if self.implicit else "starttls", **more})


class StallingRelay(FakeRelay):
    """Answers a ClientHello with the first `n_octets` of what it should, an octet each `gap_s`, and
    then says nothing more."""

    def __init__(self, leaf, n_octets, gap_s=0):
        self.context, self.n_octets, self.gap_s = server_context(leaf), n_octets, gap_s
        self.hello, self.n_sent = b"", 0
        super().__init__()

    def opened(self, session):
        self.hello = session.wire.receive()
        for octet in self.flight()[:self.n_octets]:
            session.wire.send(bytes([octet]))
            self.n_sent += 1
            time.sleep(self.gap_s)
        while session.wire.receive():
            pass
        raise Dropped

    def flight(self):
        to_us, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        to_us.write(self.hello)
        try:
            self.context.wrap_bio(to_us, to_client, server_side=True).do_handshake()
        except ssl.SSLWantReadError:
            pass
        return to_client.read()

    def settings(self, **more):
        return super().settings(**{"tls": "implicit", **more})


def offered_cipher_suites(hello):
    """Of a ClientHello (RFC 8446, 4.1.2), as numbers."""
    at = 5 + 4 + 2 + 32  # record and handshake headers, version, random
    at += 1 + hello[at]  # session id
    n = int.from_bytes(hello[at:at + 2], "big")
    suites = hello[at + 2:at + 2 + n]
    return {int.from_bytes(suites[i:i + 2], "big") for i in range(0, n, 2)}
