"""SIGKILL at random moments: nothing accepted is lost, nothing else arrives, doubles were in doubt."""
import collections
import email
import os
import random
import sqlite3
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

MESSAGES, ROUNDS = 200, 22


class Kill(unittest.TestCase):
    def test_ledger_is_exact(self):
        seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
        dice = random.Random(seed)
        print(f"seed {seed}", flush=True)
        accepted, lock = {}, threading.Lock()

        def slowly(session, event, argument):
            if event in ("dot", "data"):
                time.sleep(dice.choice((0, 0, 0.001, 0.004, 0.01)))

        with FakeRelay(slowly) as relay, Gateway({"relays": [relay.settings()],
                                                  "queue": {"retry": ["1s"]}}) as gateway:
            numbers = iter(range(MESSAGES))

            def post():
                while True:
                    with lock:
                        n = next(numbers, None)
                    if n is None:
                        return
                    while True:  # the same key until there is an answer: at most one message
                        try:
                            answer = gateway.post({"from": "a@example.com", "to": f"r{n}@example.net",
                                                   "subject": str(n), "text": f"number {n}\n"},
                                                  {"Idempotency-Key": f"key-{n}"})
                        except OSError:
                            time.sleep(0.01)
                            continue
                        if answer.status == 202:
                            with lock:
                                accepted[n] = answer.json()["id"]
                            break
                        self.assertEqual(answer.status, 503, answer.body)
                    time.sleep(dice.uniform(0, 0.06))

            threads = [threading.Thread(target=post) for _ in range(6)]
            for thread in threads:
                thread.start()
            for _ in range(ROUNDS):
                time.sleep(dice.uniform(0.02, 0.25))
                gateway.restart()
            for thread in threads:
                thread.join(600)
            records = {n: gateway.wait_for(id, seconds=120) for n, id in accepted.items()}
            self.assertEqual(gateway.term(), 0)
            arrived = collections.Counter()
            for _, recipients, content in relay.arrived:
                message = email.message_from_bytes(content)
                n = int(message["Subject"])
                self.assertEqual(recipients, (f"r{n}@example.net",))
                arrived[n] += 1
            database = sqlite3.connect(f"{gateway.dir}/queue.db")
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            database.close()

        self.assertEqual(len(accepted), MESSAGES)
        self.assertEqual([n for n in accepted if arrived[n] == 0], [], "accepted, never arrived")
        self.assertEqual(set(arrived) - set(accepted), set(), "arrived, never accepted")
        doubles = {n for n, count in arrived.items() if count > 1}
        doubted = {n for n, record in records.items()
                   if any(e["type"] == "message.in_doubt" for e in record["events"])}
        self.assertEqual(doubles - doubted, set(), "a double that was not in doubt")
        self.assertTrue(all(r["status"] == "sent" for r in records.values()))
        print(f"{ROUNDS} kills, {MESSAGES} messages, {len(doubled := doubles)} doubles, "
              f"{len(doubted)} in doubt", flush=True)


if __name__ == "__main__":
    unittest.main()
