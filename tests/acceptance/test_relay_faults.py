"""What relays do wrong, and what becomes of the mail (faults C and D that need a socket)."""
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway
from ports import bound_socket

MESSAGE = {"from": "a@example.com", "to": ["b@example.net"], "subject": "x", "text": "y\n"}


def once(event, reply, match=""):
    """Misbehaves the first time only. A reply of None: drop."""
    left = [1]

    def behaviour(session, e, argument):
        if e == event and left and (not match or match in str(argument)):
            left.pop()
            if reply is None:
                session.drop()
            return reply
        return None
    return behaviour


def events(record):
    return [e["type"].removeprefix("message.") for e in record["events"]]


class RelayFaults(unittest.TestCase):
    def deliver(self, behaviour, message=MESSAGE, seconds=30, **relay_settings):
        with FakeRelay(behaviour) as relay, Gateway({
                "queue": {"retry": ["200ms"]},
                "relays": [relay.settings(**relay_settings)]}) as gateway:
            answer = gateway.post(message)
            self.assertEqual(answer.status, 202, answer.body)
            record = gateway.wait_for(answer.json()["id"], seconds=seconds)
            return record, relay, gateway.log()

    def assert_outcome(self, behaviour, status, seen, attempts, arrived=1, **settings):
        record, relay, _ = self.deliver(behaviour, **settings)
        self.assertEqual(record["status"], status)
        self.assertEqual(events(record), seen)
        self.assertEqual(record["recipients"][0]["attempts"], attempts)
        self.assertEqual(len(relay.messages), arrived)
        return relay

    def test_refusals(self):
        for event in ("mail", "rcpt", "dot"):
            with self.subTest(event):
                self.assert_outcome(once(event, "550 5.7.1 no\r\n"), "failed", ["queued", "failed"],
                                    1, 0)
                self.assert_outcome(once(event, "451 4.3.0 later\r\n"), "sent",
                                    ["queued", "deferred", "sent"], 2)

    def test_what_concerns_the_relay_costs_nothing(self):
        for event, reply in (("connect", "554 go away\r\n"), ("connect", "421 busy\r\n"),
                             ("mail", "421 4.3.2 closing\r\n"), ("rcpt", "432 4.3.2 slow\r\n"),
                             ("mail", "452 4.3.1 disk full\r\n"), ("ehlo", "550 no\r\n"),
                             ("dot", "454 Throttling failure: Maximum sending rate exceeded\r\n")):
            with self.subTest((event, reply)):
                self.assert_outcome(once(event, reply), "sent", ["queued", "sent"], 1)

    def test_garbage_closes(self):
        for reply in ("25O nonsense\r\n", "250-a\r\n550 b\r\n", "99\r\n", "250 a\0b\r\n",
                      "354 too early\r\n", "250 a\r\n250 unasked\r\n"):
            with self.subTest(reply):
                touched = reply.startswith("250 a\r\n")
                relay = self.assert_outcome(
                    once("mail", reply), "sent",
                    ["queued", "deferred", "sent"] if touched else ["queued", "sent"],
                    2 if touched else 1)
                self.assertGreaterEqual(len(relay.sessions), 2)

    def test_endless_replies(self):  # faults 59, 62
        for event, reply in (("connect", "220 " + "x" * 2**20), ("connect", "220-x\r\n" * 2 * 10**5),
                             ("ehlo", "250-" + "x" * 2**20), ("ehlo", "250-x\r\n" * 2 * 10**5),
                             ("connect", "HTTP/1.1 400 Bad Request\r\n\r\n")):
            with self.subTest((event, reply[:10])), FakeRelay(once(event, reply)) as relay, \
                    Gateway({"relays": [relay.settings()]}) as gateway:
                id = gateway.post(MESSAGE).json()["id"]
                gateway.wait_for_log(f"step={'greeting' if event == 'connect' else 'ehlo'} "
                                     "code=protocol_error")
                record = gateway.record(id)
                self.assertEqual((record["status"], record["recipients"][0]["attempts"]),
                                 ("queued", 0))

    def test_lost_connections(self):
        # before a reply: nothing was touched; within: counts; behind the dot: in doubt
        self.assert_outcome(once("mail", None), "sent", ["queued", "sent"], 1)
        self.assert_outcome(once("rcpt", None), "sent", ["queued", "deferred", "sent"], 2)
        large = {**MESSAGE, "attachments": [{"content": "QUJD" * 4000000}]}
        record, relay, _ = self.deliver(once("line", None), large)
        self.assertEqual(events(record), ["queued", "deferred", "sent"])
        relay = self.assert_outcome(once("dot", None), "sent", ["queued", "in_doubt", "sent"], 2)
        first, second = relay.arrived
        self.assertEqual(first, second, "the same octets at a retry")

    def test_refused_while_it_goes_out(self):  # faults 71, 72
        large = {**MESSAGE, "attachments": [{"content": "QUJD" * 4000000}]}
        for then in ("reads on", "closes"):
            def refuse(session, event, argument, then=then):
                if event == "line" and session is relay.sessions[0]:
                    if session.n_refusals == 0:
                        session.n_refusals += 1
                        session.send("552 5.3.4 too big\r\n")
                    if then == "closes":
                        time.sleep(0.1)  # so that the refusal is there before the end
                        session.drop()
                if event == "connect":
                    session.n_refusals = 0
                return None
            with self.subTest(then), FakeRelay(refuse) as relay, Gateway({
                    "relays": [relay.settings(connections={"max": 1})]}) as gateway:
                record = gateway.wait_for(gateway.post(large).json()["id"])
                self.assertEqual(events(record), ["queued", "failed"])
                self.assertEqual(record["recipients"][0]["reply"]["code"], 552)
                record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
                self.assertEqual(events(record), ["queued", "sent"])

    def test_content_that_nobody_reads(self):  # fault 73
        large = {**MESSAGE, "to": ["large@example.net"],
                 "attachments": [{"content": "QUJD" * 4000000}]}
        release, stalls = threading.Event(), [1]

        def stall(session, event, argument):
            if event == "data" and session.recipients == ["large@example.net"] and stalls:
                stalls.pop()
                session.send("354 go\r\n")
                release.wait(30)
                session.drop()
            return None
        with FakeRelay(stall) as relay, Gateway({
                "queue": {"retry": ["200ms"]},
                "relays": [relay.settings(timeouts={"data": "1s"})]}) as gateway:
            stalled = gateway.post(large).json()["id"]
            record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
            self.assertEqual(events(record), ["queued", "sent"])
            self.assertEqual(len(relay.messages), 1, "it waited for nobody")
            record = gateway.wait_for(stalled)
            self.assertEqual(events(record), ["queued", "deferred", "sent"])
            release.set()

    def test_buffers_full_both_ways(self):
        """Fault 80: a server that reads on only when its replies are out, with little room for
        either; a client that would not read while it writes would wait for ever."""
        recipients = [f"{'r' * 40}{i}@{'d' * 60}.example.net" for i in range(1000)]

        def verbose(session, event, argument):
            if event == "rcpt":
                return "".join(f"250-{'x' * 500}\r\n" for _ in range(3)) + "250 ok\r\n"
            return None
        with FakeRelay(verbose, buffers=4096) as relay, Gateway({
                "relays": [relay.settings()]}) as gateway:
            record = gateway.wait_for(gateway.post({**MESSAGE, "to": recipients}).json()["id"])
            self.assertEqual(record["status"], "sent")
            self.assertEqual(relay.messages[0][1], tuple(recipients))

    def test_rset_unanswered(self):  # fault 78
        release = threading.Event()

        def silent(session, event, argument):
            if event == "rcpt" and not argument.startswith("b@"):
                return "550 5.1.1 nobody\r\n"
            if event == "other" and argument == "RSET":
                release.wait(20)
                session.drop()
            return None
        with FakeRelay(silent) as relay, Gateway({
                "relays": [relay.settings(timeouts={"command": "300ms"},
                                          connections={"max": 1})]}) as gateway:
            record = gateway.wait_for(gateway.post({**MESSAGE, "to": "c@example.net"}).json()["id"])
            self.assertEqual(record["status"], "failed")
            record = gateway.wait_for(gateway.post(MESSAGE).json()["id"])
            release.set()
            self.assertEqual(events(record), ["queued", "sent"])
            self.assertEqual(len(relay.sessions), 2)

    def test_full_disk(self):  # fault 82
        room = threading.Event()

        def refuse(session, event, argument):
            if event == "mail" and not room.is_set():
                return "452 4.3.1 insufficient system storage\r\n"
            return None
        with FakeRelay(refuse) as relay, Gateway({
                "queue": {"retry": ["50ms"]}, "relays": [relay.settings()]}) as gateway:
            ids = [gateway.post(MESSAGE).json()["id"] for _ in range(8)]
            gateway.wait_for_log("relay failure")
            time.sleep(0.5)
            n_asked = sum(c.startswith("MAIL") for s in relay.sessions for c in s.commands)
            self.assertLessEqual(n_asked, len(ids), "it leaves the relay alone")
            room.set()
            for id in ids:
                record = gateway.wait_for(id)
                self.assertEqual((events(record), record["recipients"][0]["attempts"]),
                                 (["queued", "sent"], 1))

    def test_hold(self):
        with FakeRelay(once("dot", None)) as relay, Gateway({
                "queue": {"retry": ["100ms"]},
                "relays": [relay.settings(on_in_doubt="hold")]}) as gateway:
            id = gateway.post(MESSAGE).json()["id"]
            record = gateway.wait_for(id, ("in_doubt",))
            self.assertEqual(record["status"], "in_doubt")
            time.sleep(1)
            self.assertEqual(len(relay.arrived), 1)

    def test_mixed_recipients(self):
        replies = {"ok": None, "later": "450 4.2.0 greylisted\r\n", "never": "550 5.1.1 unknown\r\n",
                   "many": "452 4.5.3 too many\r\n"}
        first = {"later", "many"}

        def behaviour(session, event, argument):
            name = str(argument).split("@")[0]
            if event == "rcpt" and (name == "never" or name in first):
                first.discard(name)
                return replies[name]
            return None
        record, relay, _ = self.deliver(
            behaviour, {**MESSAGE, "to": [f"{n}@example.net" for n in replies]})
        self.assertEqual(record["status"], "partial")
        outcome = {r["address"].split("@")[0]: (r["status"], r["attempts"])
                   for r in record["recipients"]}
        self.assertEqual(outcome, {"ok": ("sent", 1), "later": ("sent", 2), "never": ("failed", 1),
                                   "many": ("sent", 1)})
        self.assertEqual(sorted(address for m in relay.messages for address in m[1]),
                         [f"{n}@example.net" for n in ("later", "many", "ok")], "each once")

    def test_all_refused_but_354(self):
        def behaviour(session, event, argument):
            if event == "rcpt":
                return "550 5.1.1 no\r\n"
            return "354 go\r\n" if event == "data" else None
        record, relay, _ = self.deliver(behaviour)
        self.assertEqual(record["status"], "failed")
        self.assertEqual([m[2] for m in relay.arrived], [b""])

    def test_idle_connection_dies(self):
        with FakeRelay() as relay, Gateway({"relays": [relay.settings()]}) as gateway:
            for farewell in (b"", b"421 4.4.2 idle for too long\r\n", b"451 4.4.2 timeout\r\n", b""):
                id = gateway.post(MESSAGE).json()["id"]
                record = gateway.wait_for(id)
                self.assertEqual((record["status"], events(record)), ("sent", ["queued", "sent"]))
                relay.sessions[-1].sock.sendall(farewell)
                relay.hang_up()
            self.assertEqual(len(relay.sessions), 4)
            self.assertNotIn("relay failure", gateway.log())

    def test_a_connection_is_used_again(self):
        with FakeRelay() as relay, Gateway({"relays": [relay.settings(
                connections={"max": 1, "max_messages": 4})]}) as gateway:
            for n in range(8):
                gateway.wait_for(gateway.post(MESSAGE).json()["id"])
            self.assertEqual([s.n_messages for s in relay.sessions], [4, 4])

    def test_no_pipelining_and_dots(self):
        text = ".\r\n..x\n\r\n.\r\nMAIL FROM:<x@y>\r\n" + ".a\n" * 3000
        with FakeRelay(extensions=()) as relay, Gateway({"relays": [relay.settings()]}) as gateway:
            answer = gateway.post({**MESSAGE, "text": text, "bcc": ["c@example.net"]},
                                  {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(len(relay.messages), 1)
            _, recipients, content = relay.messages[0]
            self.assertEqual(recipients, ("b@example.net", "c@example.net"))
            body = content.split(b"\r\n\r\n", 1)[1]
            self.assertEqual(body.decode(), text.replace("\r\n", "\n").replace("\n", "\r\n"))
            self.assertNotIn(b"c@example.net", content)

    def test_slow_relay_gets_its_time(self):
        def slow(session, event, argument):
            if event == "dot":
                time.sleep(2)
            return None
        self.assert_outcome(slow, "sent", ["queued", "sent"], 1)

    def test_silence_is_told(self):
        def silent(session, event, argument):
            if event == "connect":
                time.sleep(3)
            return None
        with FakeRelay(silent) as relay, Gateway({"relays": [relay.settings(
                timeouts={"greeting": "300ms"})]}) as gateway:
            id = gateway.post(MESSAGE).json()["id"]
            gateway.wait_for_log("code=greeting_timeout")
            self.assertIn("tls: implicit", gateway.log())
            self.assertEqual(gateway.record(id)["recipients"][0]["attempts"], 0)

    def test_wrong_tls_mode(self):
        with FakeRelay() as relay, Gateway({"relays": [relay.settings(tls="implicit")]}) as gateway:
            gateway.post(MESSAGE)
            gateway.wait_for_log("code=tls_on_plain_port")
            self.assertIn("set tls: starttls", gateway.log())

    def test_starttls(self):
        for extensions, behaviour, code in (
                ((), None, "starttls_not_offered"),
                (("STARTTLS",), "454 4.7.0 not now\r\n", "starttls_refused"),
                (("STARTTLS",), "220 go\r\n250 injected\r\n", "injected_response"),
                (("STARTTLS",), "220 go\r\n250 injec", "injected_response")):
            def start(session, event, argument, behaviour=behaviour):
                return behaviour if event == "other" and "STARTTLS" in argument else None
            with self.subTest(code), FakeRelay(start, extensions) as relay, \
                    Gateway({"relays": [relay.settings(tls="starttls")]}) as gateway:
                id = gateway.post(MESSAGE).json()["id"]
                gateway.wait_for_log(f"code={code}")
                self.assertEqual(gateway.record(id)["status"], "queued")
                self.assertFalse(any(c.startswith(("MAIL", "AUTH"))
                                     for s in relay.sessions for c in s.commands))

    def test_relay_down_then_up(self):
        later = bound_socket()
        with Gateway({"relays": [{"name": "r", "host": "127.0.0.1", "tls": "none",
                                  "port": later.getsockname()[1]}]}) as gateway:
            ids = [gateway.post(MESSAGE).json()["id"] for _ in range(20)]
            gateway.wait_for_log("code=connect_refused")
            self.assertEqual(gateway.get("/readyz").status, 200)
            with FakeRelay(listener=later) as relay:
                for id in ids:
                    record = gateway.wait_for(id)
                    self.assertEqual((record["status"], record["recipients"][0]["attempts"]),
                                     ("sent", 1))
                relay.wait_for(20)
            self.assertIn("relay up", gateway.log())


class Draining(unittest.TestCase):
    def test_under_way_is_finished(self):
        begun = threading.Event()

        def slow(session, event, argument):
            if event == "dot":
                begun.set()
                time.sleep(1)
            return None
        with FakeRelay(slow) as relay, Gateway({"relays": [relay.settings(
                connections={"max": 1})]}) as gateway:
            ids = [gateway.post(MESSAGE).json()["id"] for _ in range(3)]
            begun.wait(10)
            self.assertEqual(gateway.term(), 0)
            self.assertEqual(len(relay.messages), 1)
            gateway.start()
            for id in ids:
                record = gateway.wait_for(id)
                self.assertEqual((record["status"], events(record)), ("sent", ["queued", "sent"]))
            self.assertEqual(len(relay.arrived), 3)

    def test_deadline_leaves_it_in_doubt(self):
        begun, release = threading.Event(), threading.Event()

        def hang(session, event, argument):
            if event == "dot" and not begun.is_set():
                begun.set()
                release.wait(20)
            return None
        with FakeRelay(hang) as relay, Gateway({
                "drain": "500ms", "queue": {"retry": ["100ms"]},
                "relays": [relay.settings()]}) as gateway:
            id = gateway.post(MESSAGE).json()["id"]
            begun.wait(10)
            self.assertEqual(gateway.term(), 0)
            release.set()
            gateway.start()
            self.assertIn("in_doubt", events(gateway.wait_for(id)))

    def test_sigkill_past_the_dot(self):
        begun, release = threading.Event(), threading.Event()

        def hang(session, event, argument):
            if event == "dot" and not begun.is_set():
                begun.set()
                release.wait(20)
            return None
        with FakeRelay(hang) as relay, Gateway({"relays": [relay.settings()]}) as gateway:
            id = gateway.post(MESSAGE).json()["id"]
            begun.wait(10)
            self.assertEqual(gateway.record(id)["status"], "sending")
            gateway.kill()
            release.set()
            gateway.start()
            record = gateway.wait_for(id)
            self.assertEqual(events(record), ["queued", "in_doubt", "sent"])


if __name__ == "__main__":
    unittest.main()
