"""Each trouble of contract section 7: a relay that has it, how that is told, and what mends it."""
import base64
import contextlib
import copy
import dataclasses
import random
import re
import socket
import ssl
import threading
import typing

from certificates import Authority
from fake_relay import FakeRelay, usual
from ports import nobodys_port
from tls_relay import TlsRelay, server_context

NAME = "smtp.test"
LOGIN = {"username": "alice", "password": "a \"hidden\" word"}
SETTING = re.compile(r"\b(port|tls|tls_options\.server_name|tls_options\.min_version|"
                     r"auth\.mechanism): (\"?[\w.-]*\w\"?)")


def set_by(hint):
    """What a hint says to set: (path, value) of each setting it names with a value."""
    return [(path, int(value) if path == "port" else value.strip('"'))
            for path, value in SETTING.findall(hint.split("set ", 1)[-1])]


def changed(settings, changes):
    """The settings with other values at some dotted paths."""
    settings = copy.deepcopy(settings)
    for path, value in changes:
        *parents, last = path.split(".")
        at = settings
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return settings


@dataclasses.dataclass
class Trouble:
    """`hint` and `detail` are expressions. `mend` takes the settings, and does what the hint asks of a person;
    None: the hint names what to set."""
    settings: dict
    step: str
    code: str
    hint: str
    proved: bool = False
    detail: str = "."
    mend: typing.Callable = None

    def mended(self, hint):
        return self.mend(self.settings) if self.mend else changed(self.settings, set_by(hint))


class Silent:
    """Takes connections and says nothing; or, `full`, does not even take them. `says` comes first
    of all; with `hangs_up` that is the end."""

    def __init__(self, says=b"", hangs_up=False, full=False, host="127.0.0.1"):
        self.says, self.hangs_up, self.full = says, hangs_up, full
        self.listener = socket.create_server((host, 0), backlog=0 if full else 16)
        self.host, self.port = self.listener.getsockname()
        self.socks = []
        if full:
            self.fill()
        else:
            threading.Thread(target=self.serve, daemon=True).start()

    def fill(self):
        """Connections nobody accepts, until one more gets no answer."""
        for _ in range(64):
            sock = socket.socket()
            self.socks.append(sock)
            sock.settimeout(0.5)
            try:
                sock.connect((self.host, self.port))
            except OSError:
                return
        raise AssertionError("the backlog takes everything")

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.socks.append(sock)
                sock.sendall(self.says)
                if self.hangs_up:
                    sock.shutdown(socket.SHUT_WR)
                    sock.close()

    def settings(self, **more):
        return {"name": "silent", "host": self.host, "port": self.port, "tls": "starttls", **more}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for sock in [self.listener, *self.socks]:
            sock.close()


def answers(**replies):
    """A behaviour: what to say to a command, by its first word in lower case; or to `connect`."""
    def behaviour(session, event, argument):
        word = argument.split(" ")[0].lower() if event in ("other", "ehlo") else event
        return replies.get(word)
    return behaviour


class Stage(contextlib.ExitStack):
    """Where relays stand: `with` closes them all, in `relays` they can be looked at."""

    def __init__(self):
        super().__init__()
        self.authority = self.enter_context(Authority())
        self.good = self.authority.leaf(f"DNS:{NAME},DNS:localhost,IP:127.0.0.1")
        self.relays = []

    def using(self, relay):
        self.relays.append(relay)
        return self.enter_context(relay)

    def fake(self, behaviour=usual, extensions=("PIPELINING", "AUTH PLAIN"), **more):
        return self.using(FakeRelay(behaviour, extensions, **more))

    def tls(self, leaf=None, **more):
        return self.using(TlsRelay(leaf or self.good, **more))

    def tls_at(self, implicit):
        return lambda host, port: TlsRelay(self.good, implicit=implicit, host=host, port=port)

    def silent(self, **more):
        return self.enter_context(Silent(**more))

    def trusted(self, **more):
        return {"tls_options": {"ca_file": self.authority.file, "server_name": NAME, **more}}

    def host_with(self, make, *ports):
        """A loopback address of its own where nothing listens but `make(host, port)` for each."""
        for _ in range(50):
            host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
            with contextlib.ExitStack() as opened:
                try:
                    for port in ports:
                        opened.enter_context(make(host, port))
                except OSError:
                    continue
                self.push(opened.pop_all())
                return host
        raise AssertionError("no loopback address has these ports free")


# --- getting there ---------------------------------------------------------------------------

def set_to(**values):
    """A mend: what was written wrong is written right."""
    return lambda settings: {**settings, **values}


def dns_failed(stage):
    relay = stage.fake()
    return Trouble(relay.settings(host="nothing.invalid"), "dns", "dns_failed",
                   "check host: \"nothing.invalid\"", mend=set_to(host=relay.host))


def connect_refused(stage):
    relay = stage.fake()
    return Trouble(relay.settings(port=nobodys_port()), "tcp", "connect_refused",
                   "nor on the usual ports: check host and port", mend=set_to(port=relay.port))


def connect_refused_but_another_port_is_open(stage, port=2525, implicit=False):
    host = stage.host_with(stage.tls_at(implicit), port)
    word = "implicit" if implicit else "starttls"
    return Trouble({"host": host, "port": 2500, "tls": "starttls", **stage.trusted()}, "tcp",
                   "connect_refused", f"set port: {port} and tls: {word}", proved=True)


def connect_timeout(stage):
    relay = stage.tls(implicit=False)
    return Trouble(stage.silent(full=True).settings(timeouts={"connect": "1s"}, **stage.trusted()),
                   "tcp", "connect_timeout", "firewall", mend=set_to(port=relay.port))


def connect_timeout_but_another_port_is_open(stage):
    host = stage.host_with(stage.tls_at(False), 2525)
    silent = stage.silent(full=True, host=host)
    return Trouble(silent.settings(timeouts={"connect": "1s"}, **stage.trusted()), "tcp",
                   "connect_timeout", "set port: 2525 and tls: starttls", proved=True)


def proxy_failed(stage):
    """There is no proxy, nor need of one."""
    return Trouble(stage.fake().settings(proxy=f"socks5://127.0.0.1:{nobodys_port()}"), "tcp",
                   "proxy_failed", r"check proxy: 127\.0\.0\.1 ",
                   mend=lambda settings: {k: v for k, v in settings.items() if k != "proxy"})


# --- TLS -------------------------------------------------------------------------------------

def tls_required_from_start(stage, tls="starttls"):
    relay = stage.tls()
    return Trouble(relay.settings(**{**stage.trusted(), "tls": tls}), "greeting",
                   "tls_required_from_start",
                   rf"\Aset tls: implicit: port {relay.port} waits for TLS\Z", proved=True)


def greeting_timeout(stage):
    relay = stage.tls(implicit=False)
    return Trouble(stage.silent().settings(timeouts={"greeting": "4s"}, **stage.trusted()),
                   "greeting", "greeting_timeout", "check host and port",
                   mend=set_to(port=relay.port))


def tls_on_plain_port(stage):
    relay = stage.tls(implicit=False)
    return Trouble(relay.settings(**{**stage.trusted(), "tls": "implicit"}, auth=LOGIN), "tls",
                   "tls_on_plain_port",
                   rf"\Aset tls: starttls: port {relay.port} speaks plain text first\Z", proved=True)


def starttls_not_offered(stage):
    return Trouble(stage.fake().settings(tls="starttls"), "ehlo", "starttls_not_offered",
                   "set tls: none, but only inside a network you trust", proved=True)


def starttls_refused(stage):
    relay = stage.tls(implicit=False, behaviour=answers(starttls="454 4.7.0 not now\r\n"))

    def its_operator_mends_it(settings):
        relay.behaviour = usual
        return settings
    return Trouble(relay.settings(**stage.trusted()), "starttls", "starttls_refused",
                   "its operator has to mend\\Z",
                   detail="454 4.7.0 not now", mend=its_operator_mends_it)


def injected_response(stage):
    """... between here and one port; the other is reached as it is."""
    host = stage.host_with(stage.tls_at(True), 2465)
    relay = stage.tls(implicit=False, host=host,
                      behaviour=answers(starttls="220 go\r\n250 injected\r\n"))
    return Trouble(relay.settings(**stage.trusted()), "tls", "injected_response",
                   "set port: 2465 and tls: implicit", proved=True)


def certificate_name_mismatch(stage):
    """localhost is the same machine as 127.0.0.1, which the certificate is not for."""
    relay = stage.tls(stage.authority.leaf("DNS:*.wild.test,DNS:nothing.invalid,DNS:localhost"))
    return Trouble(relay.settings(tls_options={"ca_file": stage.authority.file}), "tls",
                   "certificate_name_mismatch", r"\Aset tls_options.server_name: localhost\b",
                   proved=True)


def renewed(relay, stage):
    """A mend: the relay has another certificate. (It is for a clock that was wrong, too: that of
    this machine is not for a test to set.)"""
    def mend(settings):
        relay.context = server_context(stage.good)
        return settings
    return mend


def certificate_expired(stage):
    relay = stage.tls(stage.authority.leaf(f"DNS:{NAME}", ends="20200201000000Z"))
    return Trouble(relay.settings(**stage.trusted()), "tls", "certificate_expired",
                   "operator has to renew it", detail="2020-02-01", mend=renewed(relay, stage))


def certificate_not_yet_valid(stage):
    relay = stage.tls(stage.authority.leaf(f"DNS:{NAME}", begins="20480101000000Z"))
    return Trouble(relay.settings(**stage.trusted()), "tls", "certificate_not_yet_valid", "clock",
                   detail="2048-01-01", mend=renewed(relay, stage))


def certificate_untrusted(stage):
    ours = stage.trusted()
    return Trouble(stage.tls().settings(tls_options={"server_name": NAME}), "tls",
                   "certificate_untrusted", r"tls_options\.ca_file",
                   detail="an authority for tests", mend=set_to(**ours))


def tls_version(stage):
    relay = stage.tls(version=ssl.TLSVersion.TLSv1_2)
    return Trouble(relay.settings(**stage.trusted(min_version="1.3")), "tls", "tls_version",
                   r'\Aset tls_options.min_version: "1.2"', proved=True)


# --- logins ----------------------------------------------------------------------------------

def auth_mechanism_unavailable(stage):
    return Trouble(stage.fake().settings(auth={"mechanism": "login", **LOGIN}), "ehlo",
                   "auth_mechanism_unavailable",
                   r"\Aset auth.mechanism: auto: the relay offers PLAIN\Z", proved=True)


def auth_failed(stage):
    right = base64.b64encode(f"\0alice\0{LOGIN['password']}".encode()).decode()

    def knows_one_password(session, event, argument):
        if event == "other" and argument.startswith("AUTH") and right not in argument:
            return "535 5.7.8 no\r\n"
    relay = stage.tls(behaviour=knows_one_password)
    wrong = {**LOGIN, "password": "another \"hidden\" word"}
    return Trouble(relay.settings(auth=wrong, **stage.trusted()), "auth", "auth_failed",
                   "check auth.username and auth.password", mend=set_to(auth=LOGIN))


def in_plain(session):
    return not isinstance(session.sock, ssl.SSLSocket)


def auth_needs_tls(stage):
    """It offers logins only under TLS."""
    def no_auth_in_plain(session, event, argument):
        if event == "ehlo" and in_plain(session):
            return "250-fake\r\n250 STARTTLS\r\n"
    relay = stage.tls(behaviour=no_auth_in_plain, implicit=False)
    return Trouble(relay.settings(auth=LOGIN, **{**stage.trusted(), "tls": "none"}), "ehlo",
                   "auth_needs_tls", "set tls: starttls", proved=True)


def auth_needs_tls_as_a_login_shows(stage):
    """It offers them always, and takes them only under TLS."""
    def refuses_auth_in_plain(session, event, argument):
        if event == "other" and argument.startswith("AUTH") and in_plain(session):
            return "538 5.7.11 encryption required\r\n"
    relay = stage.tls(behaviour=refuses_auth_in_plain, implicit=False)
    return Trouble(relay.settings(auth=LOGIN, **{**stage.trusted(), "tls": "none"}), "auth",
                   "auth_needs_tls", "set tls: starttls", proved=True)


# --- what it says ----------------------------------------------------------------------------

def relay_refused(stage):
    def knows_one_name(session, event, argument):
        if event == "ehlo" and argument != "EHLO gw.example.com":
            return "550 5.7.1 what a name\r\n"
    return Trouble(stage.fake(knows_one_name).settings(hostname="nobody.invalid"), "ehlo",
                   "relay_refused", "check hostname", mend=set_to(hostname="gw.example.com"))


def throttled(stage):
    relay = stage.fake(answers(connect="421 4.7.0 Too many connections\r\n"))

    def fewer(settings):
        relay.behaviour = usual  # which it bears
        return {**settings, "connections": {"max": 1}}
    return Trouble(relay.settings(), "greeting", "throttled", r"connections\.max", mend=fewer)


def protocol_error(stage):
    relay = stage.tls(implicit=False)
    http = stage.silent(says=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return Trouble(http.settings(**stage.trusted()), "greeting", "protocol_error", "is not SMTP",
                   mend=set_to(port=relay.port))


PROVOCATIONS = [
    dns_failed, connect_refused, connect_refused_but_another_port_is_open, connect_timeout,
    connect_timeout_but_another_port_is_open, proxy_failed, tls_required_from_start,
    greeting_timeout, tls_on_plain_port, starttls_not_offered, starttls_refused, injected_response,
    certificate_name_mismatch, certificate_expired, certificate_not_yet_valid,
    certificate_untrusted, tls_version, auth_mechanism_unavailable, auth_failed, auth_needs_tls,
    auth_needs_tls_as_a_login_shows, relay_refused, throttled, protocol_error]
