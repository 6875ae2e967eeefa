"""How it ends: whoever waits for something is answered, and nothing a relay does or leaves undone
stretches the end. Relays here would keep their clients waiting for a minute and more."""
import contextlib
import json
import signal
import socket
import threading
import unittest

from fake_relay import FakeRelay
from gateway import Gateway, message, wait_until
from token_endpoint import TokenEndpoint
from troubles import Silent

PATIENT = {"greeting": "60s", "command": "60s", "final": "60s"}
N_WAITING = 1000
GONE_S = 20  # a generous bound, far below what a relay's timeouts and the drain allow


class Client:
    """One request whose answer is read when it is wanted."""

    def __init__(self, g, method, path, body=b"", **headers):
        self.sock = socket.create_connection(("127.0.0.1", g.port), timeout=60)
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.sock.sendall("\r\n".join(lines + ["", ""]).encode() + body)

    def answer(self):
        """(status, document); an answer that is not whole is an error, a reset too."""
        octets = b""
        while (end := octets.find(b"\r\n\r\n")) < 0:
            octets += self.more()
        head = octets[:end].decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in head
                      if line.lower().startswith("content-length:"))
        while len(octets) < end + 4 + length:
            octets += self.more()
        self.sock.close()
        return int(head[0].split(" ")[1]), json.loads(octets[end + 4:])

    def more(self):
        some = self.sock.recv(1 << 16)
        if not some:
            raise AssertionError("no answer, or half of one")
        return some


def posting(g, i=0, **more):
    body = json.dumps(message(f"user{i}@example.net", **more)).encode()
    return Client(g, "POST", "/v1/messages", body, Content_Type="application/json",
                  Prefer="wait=300")


def verify(g, relay):
    return Client(g, "POST", f"/v1/relays/{relay}/verify")


def n_accepted(g):
    text = g.get("/metrics").body.decode()
    return int(text.split("\npostern_messages_accepted_total ")[1].split("\n")[0])


def signalled(g, *signals):
    for number in signals:
        g.process.send_signal(number)


class Stuck(FakeRelay):
    """Never answers the final dot until it is let go."""

    def __init__(self):
        self.reached, self.go = threading.Event(), threading.Event()
        super().__init__(self.behave)

    def behave(self, session, event, argument):
        if event == "dot":
            self.reached.set()
            self.go.wait(120)
        return None

    def close(self):
        self.go.set()
        super().close()


class Shutdown(unittest.TestCase):
    def gone(self, g):
        self.assertEqual(g.process.wait(GONE_S), 0, g.log())

    def assert_draining(self, answer):
        self.assertEqual(answer[0], 503, answer)
        self.assertEqual(answer[1]["type"], "/problems/draining", answer)

    def a_thousand_waiting(self):
        """... and a verify of a silent relay: yields where a signal is due, first when all wait, then
        when the drain has begun."""
        with Silent() as relay, Silent() as other, Gateway({
                "relays": [relay.settings(timeouts=PATIENT),
                           other.settings(name="other", timeouts=PATIENT)],
                "drain": "60s", "http": {"max_connections": N_WAITING + 24}}) as g:
            waiting = [posting(g, i, relay="silent") for i in range(N_WAITING)]
            wait_until(lambda: n_accepted(g) == N_WAITING, 120)
            verifying = verify(g, "other")
            wait_until(lambda: len(other.socks) > 0)
            yield g
            self.assertEqual(waiting.pop().answer()[0], 202)
            yield g
            try:
                self.assertEqual({client.answer()[0] for client in waiting}, {202})
            except (AssertionError, OSError) as error:
                self.fail(f"{error}: {g.process.wait(GONE_S)}\n{g.log()}")
            self.assert_draining(verifying.answer())
            self.gone(g)

    def test_a_second_signal_does_not_wait_for_a_verify(self):
        for g in self.a_thousand_waiting():
            signalled(g, signal.SIGTERM)

    def test_both_signals_at_once(self):
        steps = self.a_thousand_waiting()
        signalled(next(steps), signal.SIGTERM, signal.SIGINT)
        for _ in steps:
            pass

    def test_the_drain_is_no_longer_than_it_may_be(self):
        with Silent() as relay, Gateway({"relays": [relay.settings(timeouts=PATIENT)],
                                         "drain": "1s"}) as g:
            waiting, verifying = posting(g), verify(g, "silent")
            wait_until(lambda: n_accepted(g) == 1 and len(relay.socks) >= 2)
            signalled(g, signal.SIGTERM)
            self.assertEqual(waiting.answer()[0], 202)
            self.assert_draining(verifying.answer())
            self.gone(g)

    def test_no_verify_begins_in_the_drain(self):
        with Stuck() as stuck, Gateway({"relays": [stuck.settings(timeouts=PATIENT)],
                                        "drain": "60s"}) as g:
            waiting = posting(g)
            self.assertTrue(stuck.reached.wait(30))
            signalled(g, signal.SIGTERM)
            self.assertEqual(waiting.answer()[0], 202)
            wait_until(lambda: verify(g, "fake").answer()[0] == 503)
            self.assert_draining(verify(g, "fake").answer())
            self.assertEqual(g.get("/livez").status, 200)
            signalled(g, signal.SIGTERM)
            self.gone(g)

    def test_a_transaction_under_way_may_finish(self):
        with Stuck() as stuck, Gateway({"relays": [stuck.settings(timeouts=PATIENT)],
                                        "drain": "60s"}) as g:
            waiting = posting(g)
            self.assertTrue(stuck.reached.wait(30))
            signalled(g, signal.SIGTERM)
            self.assertEqual(waiting.answer()[0], 202)
            stuck.go.set()
            self.gone(g)
            self.assertEqual(len(stuck.messages), 1)

    def test_store_memory_and_a_relay_that_does_not_answer(self):
        """What a session has is waited for in the drain; all else is withdrawn and says so."""
        with Stuck() as stuck, Gateway({
                "queue": {"store": "memory:"}, "drain": "60s",
                "relays": [stuck.settings(timeouts=PATIENT, connections={"max": 2})]}) as g:
            waiting = [posting(g, i) for i in range(100)]
            wait_until(lambda: n_accepted(g) == 100)
            self.assertTrue(stuck.reached.wait(30))
            signalled(g, signal.SIGTERM, signal.SIGINT)
            self.assertEqual({client.answer()[0] for client in waiting}, {504})
            self.gone(g)

    def test_a_verify_that_waits_for_a_token(self):
        asked, go = threading.Event(), threading.Event()

        def never(handler):
            asked.set()
            go.wait(120)

        with TokenEndpoint({"/token": (99, never)}) as endpoint, \
                FakeRelay(extensions=("AUTH XOAUTH2",)) as relay, Gateway({
                    "drain": "60s",
                    "oauth": [{"name": "slow", "grant": "client_credentials", "client_id": "i",
                               "client_secret": "s", "token_url": endpoint.url()}],
                    "relays": [relay.settings(timeouts=PATIENT, allow_plaintext_auth=True,
                                              auth={"username": "u", "oauth": "slow"})]}) as g:
            verifying = verify(g, "fake")
            self.assertTrue(asked.wait(30))
            signalled(g, signal.SIGTERM, signal.SIGINT)
            self.assert_draining(verifying.answer())
            self.gone(g)
            go.set()

    def test_a_client_that_takes_no_answer_and_one_that_never_ends_its_body(self):
        with Silent() as relay, Gateway({"relays": [relay.settings(timeouts=PATIENT)],
                                         "drain": "1s"}) as g, contextlib.ExitStack() as stack:
            half = stack.enter_context(socket.create_connection(("127.0.0.1", g.port)))
            half.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
                         b"Content-Type: application/json\r\n\r\n{")
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", g.port)))
            deaf.sendall(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            self.assertEqual(g.get("/livez").status, 200)
            signalled(g, signal.SIGTERM)
            self.gone(g)


if __name__ == "__main__":
    unittest.main()
