"""What a message asks of its relay: from the request to the wire, over retries and restarts."""
import os
import sqlite3
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

MESSAGE = {"from": "a@example.com", "to": ["b+c@example.net"], "subject": "x", "text": "y\n"}
DSN = {"notify": ["failure", "delay"], "ret": "headers", "envid": "order=7"}
EXTENSIONS = ("PIPELINING", "8BITMIME", "DSN", "SIZE")


def commands(relay, verb):
    with relay.lock:
        return [c for session in relay.sessions for c in session.commands if c.startswith(verb)]


class Wishes(unittest.TestCase):
    def test_notifications_over_a_retry_and_a_kill(self):
        refused = threading.Event()

        def later_at_first(session, event, argument):
            if event == "rcpt" and not refused.is_set():
                refused.set()
                return "451 4.3.0 later\r\n"
            return None

        with FakeRelay(later_at_first, EXTENSIONS) as relay, Gateway({
                "queue": {"retry": ["1s"]}, "relays": [relay.settings()]}) as gateway:
            id = gateway.post({**MESSAGE, "dsn": DSN, "relay": "fake"}).json()["id"]
            gateway.wait_for(id, ("deferred",))
            gateway.restart()
            self.assertEqual(gateway.wait_for(id)["status"], "sent")
            mails, rcpts = commands(relay, "MAIL"), commands(relay, "RCPT")
        self.assertEqual(len(mails), 2)
        for mail, rcpt in zip(mails, rcpts):
            self.assertRegex(mail, r"^MAIL FROM:<a@example.com> SIZE=\d+ RET=HDRS ENVID=order\+3D7$")
            self.assertEqual(rcpt, "RCPT TO:<b+c@example.net> NOTIFY=FAILURE,DELAY "
                                   "ORCPT=rfc822;b+2Bc@example.net")

    def test_tls_that_is_required_and_not_to_be_had(self):
        with FakeRelay(extensions=EXTENSIONS) as relay, Gateway({
                "relays": [relay.settings()]}) as gateway:
            id = gateway.post({**MESSAGE, "require_tls": True}).json()["id"]
            record = gateway.wait_for(id)
            self.assertEqual(commands(relay, "MAIL"), [])
        self.assertEqual(record["status"], "failed")
        self.assertEqual(record["recipients"][0]["reply"]["enhanced"], "5.7.30")

    def test_a_short_life(self):
        with FakeRelay(lambda s, event, a: "451 4.3.0 later\r\n" if event == "rcpt" else None) as relay, \
                Gateway({"queue": {"retry": ["2s"]}, "relays": [relay.settings()]}) as gateway:
            id = gateway.post({**MESSAGE, "ttl": "1s"}).json()["id"]
            record = gateway.wait_for(id)
        self.assertEqual(record["status"], "failed")
        self.assertEqual(record["recipients"][0]["attempts"], 1, "the second would have been too late")

    def test_relays_that_are_not_there(self):
        with FakeRelay() as relay, Gateway({"relays": [relay.settings()]}) as gateway:
            answer = gateway.post({**MESSAGE, "relay": "fakr"})
            self.assertEqual(answer.status, 422)
            self.assertEqual([e["pointer"] for e in answer.json()["errors"]], ["/relay"])
            self.assertIn("did you mean fake?", answer.json()["errors"][0]["detail"])

    def killed_before_the_reply(self, on_in_doubt):
        """The relay has the message, and the process dies before it hears so."""
        has_it, restarted = threading.Event(), threading.Event()

        def silent_at_first(session, event, argument):
            if event == "dot" and not has_it.is_set():
                has_it.set()
                restarted.wait(20)
                session.drop()
            return None

        with FakeRelay(silent_at_first, EXTENSIONS) as relay, Gateway({
                "queue": {"retry": ["200ms"]},
                "relays": [relay.settings(on_in_doubt=on_in_doubt)]}) as gateway:
            id = gateway.post(MESSAGE).json()["id"]
            self.assertTrue(has_it.wait(20))
            gateway.restart()
            restarted.set()
            other = gateway.post(MESSAGE).json()["id"]  # once it is sent, the first had its chance
            self.assertEqual(gateway.wait_for(other)["status"], "sent")
            statuses = ("in_doubt",) if on_in_doubt == "hold" else ("sent",)
            record = gateway.wait_for(id, statuses)
            return record, len(relay.arrived)

    def test_in_doubt_after_a_kill_is_sent_again(self):
        record, arrived = self.killed_before_the_reply("retry")
        self.assertEqual(record["status"], "sent")
        self.assertIn("message.in_doubt", [e["type"] for e in record["events"]])
        self.assertEqual(arrived, 3)

    def test_in_doubt_after_a_kill_is_held(self):
        record, arrived = self.killed_before_the_reply("hold")
        self.assertEqual(record["status"], "in_doubt")
        self.assertEqual(record["recipients"][0]["attempts"], 1)
        self.assertEqual(arrived, 2)

    def test_a_store_of_the_first_version(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with open(os.path.join(root, "unit/service/queue/version_1.sql")) as f:
            script = f.read()
        with FakeRelay() as relay, Gateway({"relays": [relay.settings()]}, start=False) as gateway:
            database = sqlite3.connect(f"{gateway.dir}/queue.db")
            database.executescript(script)
            far, now_ms = 4102444800000, int(time.time() * 1000)
            database.execute("UPDATE message SET expires_ms = ?, ended_ms = iif(ended_ms, ?, NULL)",
                             (far, now_ms))
            database.commit()
            database.close()
            gateway.start()
            record = gateway.wait_for("msg_01ARZ3NDEKTSV4RRFFQ69G5FA1")
            self.assertEqual(record["status"], "sent")
            self.assertEqual(relay.messages[0][1], ("r0@example.net", "r1@example.net"))
            ended = gateway.record("msg_01ARZ3NDEKTSV4RRFFQ69G5FA2")
            self.assertEqual(ended["status"], "sent")
            self.assertEqual(len(ended["events"]), 2)


if __name__ == "__main__":
    unittest.main()
