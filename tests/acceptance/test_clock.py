"""A wall clock that is wrong when mail is taken in, and is set while it waits."""
import datetime
import os
import time
import unittest

from fake_relay import FakeRelay
from gateway import POSTERN, Gateway, message

DAY = 24 * 3600 * 1000
YEAR = 365 * DAY
# What nobody knows the time by: a battery that ran out, an image of weeks ago, a typing error.
WRONG = (-54 * YEAR, -23 * DAY, -4 * DAY, 9 * YEAR, 5 * DAY)


class Clock(unittest.TestCase):
    def set_up(self, off_ms, **more):
        self.open = False
        relay = FakeRelay(lambda session, event, argument: None if self.open or event != "mail"
                          else "451 4.3.0 later\r\n")
        self.addCleanup(relay.close)
        gateway = Gateway({"relays": [relay.settings()], "queue": {"retry": ["1s"], **more}},
                          start=False)
        self.addCleanup(gateway.close)
        shim = os.path.join(os.path.dirname(os.path.abspath(POSTERN)), "wall_clock.so")
        options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.file = f"{gateway.dir}/clock"
        gateway.env = {"LD_PRELOAD": shim, "WALL_CLOCK": self.file, "ASAN_OPTIONS": options}
        self.set_clock(off_ms)
        gateway.start()
        return relay, gateway

    def set_clock(self, off_ms):
        with open(self.file + ".new", "w") as f:
            f.write(str(off_ms))
        os.replace(self.file + ".new", self.file)

    def post(self, gateway, **more):
        answer = gateway.post(message(**more))
        self.assertEqual(answer.status, 202, answer.body)
        return answer.json()["id"]

    def check_sent(self, gateway, id):
        record = gateway.wait_for(id, seconds=60)
        self.assertEqual(record["status"], "sent", record)
        return record

    def age_s(self, record):
        created = datetime.datetime.fromisoformat(record["created_at"].replace("Z", "+00:00"))
        return time.time() - created.timestamp()

    def test_set_while_mail_waits(self):
        for off_ms in WRONG:
            with self.subTest(off_ms=off_ms):
                relay, gateway = self.set_up(off_ms)
                id = self.post(gateway)
                self.assertEqual(gateway.wait_for(id, ("deferred",))["status"], "deferred")
                self.set_clock(0)
                gateway.wait_for_log("the clock was set")
                self.open = True
                record = self.check_sent(gateway, id)
                self.assertLess(abs(self.age_s(record)), 3600, "its date is right now")
                self.check_sent(gateway, self.post(gateway))
                self.assertEqual(len(relay.messages), 2)

    def test_set_between_two_processes(self):
        for off_ms in WRONG:
            with self.subTest(off_ms=off_ms):
                relay, gateway = self.set_up(off_ms)
                id = self.post(gateway)
                gateway.wait_for(id, ("deferred",))
                gateway.kill()
                self.set_clock(0)
                gateway.start()
                self.open = True
                self.check_sent(gateway, id)
                self.assertEqual(len(relay.messages), 1)

    def test_set_between_two_starts_of_the_machine(self):
        """Nothing tells then how the clock stood: only what cannot be true is known to be wrong."""
        for off_ms in (-54 * YEAR, -20 * YEAR, 9 * YEAR, 3 * DAY):
            with self.subTest(off_ms=off_ms):
                _, gateway = self.set_up(off_ms)
                id = self.post(gateway)
                gateway.wait_for(id, ("deferred",))
                gateway.kill()
                os.unlink(f"{gateway.dir}/queue.db.flights")
                self.set_clock(0)
                gateway.start()
                self.open = True
                self.check_sent(gateway, id)

    def test_a_clock_that_is_never_right(self):
        """What was stored by the right one is delivered at once, not in fifty years."""
        _, gateway = self.set_up(0)
        id = self.post(gateway)
        gateway.wait_for(id, ("deferred",))
        gateway.kill()
        os.unlink(f"{gateway.dir}/queue.db.flights")
        self.set_clock(-54 * YEAR)
        gateway.start()
        self.open = True
        self.check_sent(gateway, id)

    def test_a_lifetime_is_as_long_as_ever(self):
        for off_ms in (-54 * YEAR, -4 * DAY, 9 * YEAR):
            with self.subTest(off_ms=off_ms):
                relay, gateway = self.set_up(off_ms, max_age="6s")
                id = self.post(gateway)
                gateway.wait_for(id, ("deferred",))
                self.set_clock(0)
                record = gateway.wait_for(id, seconds=60)
                self.assertEqual(record["status"], "failed", record)
                self.assertEqual(relay.messages, [])


if __name__ == "__main__":
    unittest.main()
