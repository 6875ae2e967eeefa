"""What a relay offers and does not do, and answers that come while the gateway stands still."""
import os
import signal
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

MESSAGE = {"from": "a@example.com", "to": ["b@example.net"], "subject": "x", "text": "y\n"}
CHUNKING = ("PIPELINING", "8BITMIME", "CHUNKING")


class Distrust(unittest.TestCase):
    def send(self, gateway, n):
        return [gateway.post(dict(MESSAGE, subject=str(i))).json()["id"] for i in range(n)]

    def assert_sent_once(self, gateway, relay, ids):
        for id_ in ids:
            record = gateway.wait_for(id_, seconds=30)
            self.assertEqual(record["status"], "sent", record)
            self.assertEqual(record["recipients"][0]["attempts"], 1)
            self.assertEqual([e["type"] for e in record["events"]],
                             ["message.queued", "message.sent"])
        self.assertEqual(len(relay.messages), len(ids))

    def test_unknown_chunks(self):
        for reply in ("500 5.5.1 command unrecognized\r\n", "502 what\r\n", "503 bad sequence\r\n"):
            with self.subTest(reply), FakeRelay(self.no_bdat(reply), extensions=CHUNKING) as relay, \
                    Gateway({"relays": [relay.settings(connections={"max": 1})]}) as gateway:
                self.assert_sent_once(gateway, relay, self.send(gateway, 1))
                said = self.n_bdat
                self.assert_sent_once_more(gateway, relay)
                self.assertEqual((said, self.n_bdat), (1, 1))
                self.assertEqual(gateway.log().count("offers what it does not do"), 1)

    def assert_sent_once_more(self, gateway, relay):
        relay.messages.clear()
        self.assert_sent_once(gateway, relay, self.send(gateway, 5))

    def no_bdat(self, reply):
        self.n_bdat = 0

        def behaviour(session, event, argument):
            if event == "dot" and session.commands[-1].startswith("BDAT"):
                self.n_bdat += 1
                return reply
            return None
        return behaviour

    def test_without_chunking(self):
        with FakeRelay(self.no_bdat("500 no\r\n"), extensions=CHUNKING) as relay, \
                Gateway({"relays": [relay.settings(without=["chunking"])]}) as gateway:
            self.assert_sent_once(gateway, relay, self.send(gateway, 5))
            self.assertEqual(self.n_bdat, 0)

    def test_who_throws_a_segment_s_rest_away_gets_one_command_at_a_time(self):
        """It offers PIPELINING, and reads no more than one command of what has come."""
        def hears_one(session, event, argument):
            if event == "mail":
                thrown_away.append(bool(session.wire.unread))
                session.wire.unread = b""
            return None
        thrown_away = []
        with FakeRelay(hears_one, gathers=True) as relay, Gateway({
                "relays": [relay.settings(connections={"max": 1}, timeouts={"command": "2s"})],
                "queue": {"retry": ["100ms"]}}) as gateway:
            first = gateway.wait_for(self.send(gateway, 1)[0], seconds=60)
            self.assertEqual(first["status"], "sent", first)
            self.assertEqual(thrown_away, [True, False])
            self.assertEqual(len(relay.sessions), 2)
            relay.messages.clear()
            self.assert_sent_once(gateway, relay, self.send(gateway, 3))
            self.assertEqual(thrown_away, [True] + 4 * [False])
            self.assertEqual(gateway.log().count("offers what it does not do"), 1)

    def test_answered_while_frozen(self):
        arrived, said = threading.Event(), threading.Event()
        frozen = threading.Event()

        def late(session, event, argument):
            if event != "dot":
                return None
            arrived.set()
            frozen.wait(30)
            session.send("250 2.0.0 kept\r\n")
            session.wire.flush()
            said.set()
            return ""
        with FakeRelay(late) as relay, Gateway(
                {"relays": [relay.settings(timeouts={"final": "2s"})]}) as gateway:
            self.freeze_across_the_answer(gateway, arrived, frozen, said)
            self.assertEqual(len(relay.arrived), 1)

    def freeze_across_the_answer(self, gateway, arrived, frozen, said):
        """Its deadline of 2 s passes while the answer lies there."""
        id_ = self.send(gateway, 1)[0]
        self.assertTrue(arrived.wait(30))
        os.kill(gateway.process.pid, signal.SIGSTOP)
        try:
            frozen.set()
            self.assertTrue(said.wait(30))
            time.sleep(3)  # the deadline passes: for longer than that is no matter
        finally:
            os.kill(gateway.process.pid, signal.SIGCONT)
        record = gateway.wait_for(id_, seconds=30)
        self.assertEqual((record["status"], record["recipients"][0]["attempts"]), ("sent", 1))

    def assert_first_was_of_use(self, gateway, relay):
        """The gateway may have looked, by another, why nobody let it in for so long."""
        self.assertEqual([s.n_messages for s in relay.sessions if s.n_messages > 0], [1])
        self.assertEqual(relay.sessions[0].n_messages, 1)
        self.assertEqual(gateway.log().count("relay failure"), 0)

    def test_a_way_opened_while_frozen(self):
        """The server is its own proxy: it opens the way to itself."""
        arrived, frozen, said = threading.Event(), threading.Event(), threading.Event()

        class Proxied(FakeRelay):
            def opened(self, session):
                while session.wire.line() not in (b"\r\n", b""):
                    pass
                arrived.set()
                frozen.wait(30)
                session.send("HTTP/1.1 200 go\r\n\r\n")
                session.wire.flush()
                said.set()
        with Proxied() as relay, Gateway({"relays": [relay.settings(
                proxy=f"http://127.0.0.1:{relay.port}", timeouts={"connect": "2s"})]}) as gateway:
            self.freeze_across_the_answer(gateway, arrived, frozen, said)
            self.assert_first_was_of_use(gateway, relay)

    def test_greeted_while_frozen(self):
        arrived, frozen, said = threading.Event(), threading.Event(), threading.Event()

        def late(session, event, argument):
            if event != "connect":
                return None
            arrived.set()
            frozen.wait(30)
            session.send("220 hi\r\n")
            session.wire.flush()
            said.set()
            return ""
        with FakeRelay(late) as relay, Gateway(
                {"relays": [relay.settings(timeouts={"greeting": "2s"})]}) as gateway:
            self.freeze_across_the_answer(gateway, arrived, frozen, said)
            self.assert_first_was_of_use(gateway, relay)


if __name__ == "__main__":
    unittest.main()
