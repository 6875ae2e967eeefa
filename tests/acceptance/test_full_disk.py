"""A small disk, filled by our own queue and by others: all goes out and is recorded, and mail is taken
in again."""
import collections
import os
import sqlite3
import unittest

from fake_relay import FakeRelay
from gateway import POSTERN, Gateway, message, wait_until

TEXT = ("x" * 70 + "\n") * 600


def small_disk(gateway, size):
    shim = os.path.join(os.path.dirname(os.path.abspath(POSTERN)), "small_disk.so")
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    folder = f"{gateway.dir}/disk"
    os.mkdir(folder)
    gateway.configure({"queue": {"store": f"sqlite:{folder}/queue.db", "min_free": "0",
                                 "retry": ["1s"]}})
    gateway.env = {"LD_PRELOAD": shim, "SMALL_DISK": folder, "SMALL_DISK_BYTES": str(size),
                   "ASAN_OPTIONS": options}
    return folder


def space_left(folder, size):
    return size - sum((os.path.getsize(f"{folder}/{name}") + 4095) // 4096 * 4096
                      for name in os.listdir(folder))


def fill(folder, size):
    """What somebody else writes: nothing is left."""
    with open(f"{folder}/somebody else's", "wb") as f:
        f.write(b"\0" * (space_left(folder, size) // 4096 * 4096))


class Gate:
    """A relay that takes no mail until it is opened."""

    def __init__(self):
        self.open = False

    def __call__(self, session, event, argument):
        return None if self.open or event != "mail" else "451 4.3.2 not now\r\n"


class FullDisk(unittest.TestCase):
    def set_up(self, size, **queue):
        self.gate = Gate()
        relay = self.enterContext(FakeRelay(self.gate))
        gateway = Gateway({"relays": [relay.settings()]}, start=False)
        self.addCleanup(gateway.close)
        folder = small_disk(gateway, size)
        gateway.configure({"queue": queue})
        gateway.start()
        return relay, gateway, folder

    def enterContext(self, manager):  # Python 3.11 has it
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()

    def post_until_refused(self, gateway, text=TEXT):
        taken = []
        while (answer := gateway.post(message(text=text))).status == 202:
            taken.append(answer.json()["id"])
        self.assertEqual(answer.status, 503, answer.body)
        self.assertGreater(len(taken), 10)
        return taken

    def assert_each_arrived_once(self, relay, n):
        ids = collections.Counter(
            line for _, _, content in relay.messages for line in content.split(b"\r\n")
            if line.lower().startswith(b"message-id:"))
        self.assertEqual(set(ids.values()), {1})
        self.assertEqual(len(ids), n)

    def assert_recorded(self, folder, n):
        with sqlite3.connect(f"{folder}/queue.db") as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            self.assertEqual(db.execute("SELECT status, count(*) FROM recipient GROUP BY status"
                                        ).fetchall(), [(3, n)])

    def test_filled_by_our_own_queue(self):
        for size in (6 << 20, 19 << 20):
            with self.subTest(size=size):
                relay, gateway, folder = self.set_up(size)
                taken = self.post_until_refused(gateway)
                full = os.path.getsize(f"{folder}/queue.db")
                gateway.restart()  # a crash, and a start on the full disk
                self.gate.open = True
                relay.wait_for(len(taken), 60)
                for id in taken:
                    self.assertEqual(gateway.wait_for(id)["status"], "sent")
                gateway.restart()
                wait_until(lambda: gateway.post(message()).status == 202, 60)
                relay.wait_for(len(taken) + 1)
                wait_until(lambda: os.path.getsize(f"{folder}/queue.db") < full / 2, 60)
                # As much as before goes in again.
                self.gate.open = False
                self.assertGreater(len(self.post_until_refused(gateway)), len(taken) * 3 / 4)
                self.assert_each_arrived_once(relay, len(taken) + 1)

    def test_filled_by_somebody_else(self):
        size = 32 << 20
        relay, gateway, folder = self.set_up(size)
        taken = [gateway.post(message(text=TEXT)).json()["id"] for _ in range(200)]
        fill(folder, size)
        wait_until(lambda: gateway.get("/readyz").status == 503)
        self.assertEqual(gateway.post(message()).status, 503)
        self.gate.open = True
        relay.wait_for(len(taken), 60)
        for id in taken:
            self.assertEqual(gateway.wait_for(id)["status"], "sent")
        gateway.kill()
        self.assert_recorded(folder, len(taken))
        gateway.start()  # where there is still no room at all
        for id in taken:
            self.assertEqual(gateway.record(id)["status"], "sent")
        os.unlink(f"{folder}/somebody else's")
        wait_until(lambda: gateway.post(message()).status == 202, 60)
        relay.wait_for(len(taken) + 1)
        self.assert_each_arrived_once(relay, len(taken) + 1)
        self.assertGreater(os.path.getsize(f"{folder}/queue.db.reserve"), 1 << 20)

    def test_one_that_is_too_large_is_refused_alone(self):
        _, gateway, _ = self.set_up(16 << 20)
        self.assertEqual(gateway.post(message(text=TEXT * 200)).status, 503)
        self.assertEqual(gateway.post(message(text=TEXT)).status, 202)
        self.assertEqual(gateway.get("/readyz").status, 200)

    def test_a_disk_that_is_full_from_the_start(self):
        for size in (0, 4096, 40960, 65536, 90112, 131072):
            with self.subTest(size=size):
                gateway = Gateway(start=False)
                self.addCleanup(gateway.close)
                small_disk(gateway, size)
                try:
                    gateway.start()
                except RuntimeError as error:
                    self.assertEqual(gateway.process.wait(20) in (1, 3), True, error)
                    self.assertRegex(str(error), "No space left|full")
                else:  # then it takes nothing in, and ends well
                    self.assertEqual(gateway.post(message()).status, 503)
                    self.assertEqual(gateway.term(), 0)


if __name__ == "__main__":
    unittest.main()
