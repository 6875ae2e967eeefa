"""A storm: three relays that do whatever comes to their minds, an operator who pauses and resumes
them, a password that changes, a kill and a restart, and all the while mail. Then it is let be, and
the books must balance."""
import base64
import collections
import os
import random
import select
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

MESSAGES, POSTERS = 3000, 8
CHAOS_S = 12
B_PER_HOUR = 500
IN_FLIGHT_MAX = 2 * 16  # of relay b: what a SIGKILL keeps from being counted

# What a relay says of itself: it costs a message no attempt.
OF_RELAY = ("421 4.3.2 going down\r\n", "432 4.3.2 Concurrent connections limit exceeded\r\n",
            "454 4.7.0 temporary failure\r\n", "451 4.4.2 timeout\r\n", "452 4.3.1 full\r\n")
OF_MESSAGE = ("451 4.3.0 later\r\n", "450 4.2.0 greylisted\r\n")


def is_left(session):
    """Has the other end closed, or we?"""
    try:
        poll = select.poll()
        poll.register(session.wire.sock, select.POLLRDHUP)
        return bool(poll.poll(0))
    except ValueError:
        return True


class StormyRelay(FakeRelay):
    """`passwords` are those that let in; None: no login. Recipients that begin with "no" are unknown
    at all times, everything else is a mood."""

    def __init__(self, seed, most, extensions, passwords=None):
        self.dice, self.most, self.passwords = random.Random(seed), most, passwords
        self.anger = 0.0  # how likely a fault is, at each event
        self.accepted, self.crowds, self.n_faults = [], [], collections.Counter()
        super().__init__(self.behave, extensions)

    def opened(self, session):
        """A connection that began before this one and is there still was there when it began."""
        with self.lock:
            older = self.sessions[:self.sessions.index(session)]
        at_once = [session, *(s for s in older[-100:] if not is_left(s))]
        if len(at_once) > self.most:
            self.crowds.append(at_once)

    def excess(self):
        """Of connections for mail; those that only look what is wrong with us may come on top."""
        for crowd in self.crowds:
            said = [s.commands[-20:] for s in crowd if any(c.startswith("MAIL") for c in s.commands)]
            if len(said) > self.most:
                yield said

    def fault(self, session, event):
        kind = self.dice.choice({"connect": ("drop", "hang", "421 4.3.2 no\r\n", "554 no\r\n"),
                                 "ehlo": ("drop", "421 4.3.2 no\r\n")}.get(
                                     event, ("drop", "of relay", "of message", "hang")))
        self.n_faults[kind] += 1
        if kind == "drop":
            session.drop()
        if kind == "hang":
            time.sleep(self.dice.uniform(0.05, 1.5))
            return None
        reply = self.dice.choice({"of relay": OF_RELAY, "of message": OF_MESSAGE}.get(kind, (kind,)))
        if reply.startswith("421"):  # and it does go
            session.send(reply)
            session.drop()
        return reply

    def behave(self, session, event, argument):
        if event == "other" and argument.startswith("AUTH PLAIN"):
            password = base64.b64decode(argument.split()[2]).split(b"\0")[2].decode()
            return "235 2.7.0 in\r\n" if password in self.passwords else "535 5.7.8 who?\r\n"
        reply = None
        if event in ("connect", "ehlo", "mail", "rcpt", "data", "dot") and \
                self.dice.random() < self.anger:
            reply = self.fault(session, event)
        if event == "rcpt" and reply is None and argument.startswith("no"):
            reply = "550 5.1.1 nobody\r\n"
        if event == "dot" and reply is None:
            with self.lock:
                self.accepted += session.recipients
        return reply

    def settings(self, name, **more):
        return super().settings(name=name, connections={"max": self.most, "idle": "1s"}, timeouts={
            "greeting": "1s", "command": "1s", "data": "1s", "final": "1s"}, **more)


class Posters:
    """Each message gets the same key until there is an answer: so it is taken in once."""

    def __init__(self, gateway, dice):
        self.gateway, self.lock = gateway, threading.Lock()
        self.bodies = iter([self.message(n, dice) for n in range(MESSAGES)])
        self.ids, self.errors = {}, []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(POSTERS)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def message(n, dice):
        to = [f"{'no' if dice.random() < 0.03 else 'yes'}-{n}-{i}@{dice.choice('abc')}.example"
              for i in range(dice.choice((1, 1, 2, 3, 8)))]
        return {"from": f"s{n}@example.com", "to": to, "subject": str(n), "text": "hi\n" * 20,
                "priority": dice.choice(("high", "normal", "low"))}

    def run(self):
        while True:
            with self.lock:
                body = next(self.bodies, None)
            if body is None:
                return
            self.post(body)
            time.sleep(POSTERS * CHAOS_S / MESSAGES / 2)

    def post(self, body):
        while True:
            try:
                answer = self.gateway.post(body, {"Idempotency-Key": body["subject"]})
            except OSError:  # it is being restarted
                time.sleep(0.02)
                continue
            if answer.status == 202:
                with self.lock:
                    self.ids[body["subject"]] = (answer.json()["id"], body["to"])
                return
            if answer.status not in (409, 503):
                self.errors.append(answer.body)
                return
            time.sleep(0.02)


class Operator:
    """Does something every moment, and two restarts in between."""

    def __init__(self, gateway, relays, password_file, dice):
        self.gateway, self.relays, self.password_file = gateway, relays, password_file
        self.dice = dice

    def ask(self, name, verb):
        try:
            self.gateway.request("POST", f"/v1/relays/{name}/{verb}", timeout=5)
        except OSError:
            pass

    def new_password(self):
        passwords = self.relays["c"].passwords
        passwords.append(f"password-{self.dice.random()}")
        del passwords[:-2]
        with open(self.password_file + ".new", "w") as f:
            f.write(passwords[-1])
        os.rename(self.password_file + ".new", self.password_file)

    def act(self):
        name = self.dice.choice("abc")
        relay = self.relays[name]
        action = self.dice.randrange(7)
        if action == 0:
            self.ask(name, "pause")
        elif action <= 2:
            self.ask(name, "resume")
        elif action == 3:
            relay.anger = self.dice.choice((0.02, 0.1, 0.3, 0.6))
        elif action == 4:
            relay.hang_up()
        elif action == 5:
            relay.cuts.append(self.dice.choice(((self.dice.randrange(4000), None),
                                                (None, self.dice.randrange(1500)))))
        elif name == "c":
            self.new_password()

    def storm(self):
        restarts = {CHAOS_S / 3: self.gateway.restart, CHAOS_S * 2 / 3: self.end_and_start}
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < CHAOS_S:
            for at in [at for at in restarts if at < now]:
                restarts.pop(at)()
            self.act()
            time.sleep(self.dice.uniform(0, 0.06))
        for relay in self.relays.values():
            relay.anger, relay.cuts = 0, []

    def end_and_start(self):
        assert self.gateway.term() == 0
        self.gateway.start()

    def calm(self):
        for name in self.relays:
            self.ask(name, "resume")


def n_descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


class Storm(unittest.TestCase):
    def setUp(self):
        seed = int(os.environ.get("SEED", 20261125))  # SEED=... for another storm
        print(f"seed {seed}", flush=True)
        self.dice = random.Random(seed)

    def wait_for_all(self, operator, posters):
        """The relays were told to rest for longer than this test wants to last."""
        deadline = time.monotonic() + 90
        records, waiting = {}, dict(posters.ids)
        while waiting:
            self.assertLess(time.monotonic(), deadline, f"{len(waiting)} of them wait for ever: "
                            f"{self.gateway.get('/v1/relays').body} "
                            f"{self.gateway.record(next(iter(waiting.values()))[0])}")
            operator.calm()
            for subject, (id, _) in list(waiting.items()):
                record = self.gateway.record(id)
                if record["status"] not in ("sent", "failed", "partial"):
                    break
                records[subject] = record
                del waiting[subject]
            time.sleep(0.1)
        return records

    def assert_recipient(self, address, recipient, events, n_copies):
        kinds = [e["type"].removeprefix("message.") for e in events]
        n = collections.Counter(kinds)
        where = (address, recipient, events, n_copies)
        if address.startswith("no"):
            self.assertEqual((recipient["status"], n_copies), ("failed", 0), where)
        else:
            self.assertEqual(recipient["status"], "sent", where)
            self.assertGreaterEqual(n_copies, 1, where)
            self.assertLessEqual(n_copies, 1 + n["in_doubt"], where)
        self.assertEqual(recipient["attempts"], 1 + n["deferred"] + n["in_doubt"], where)
        return sum(f"{e['reply']['code']} {e['reply']['enhanced']}" in " ".join(OF_RELAY)
                   for e in events if e["type"] == "message.deferred" and e.get("reply"))

    def assert_books(self, records, posters, relays):
        copies = collections.Counter(a for r in relays.values() for a in r.accepted)
        n_recipients = n_blamed = 0
        for subject, (_, to) in posters.ids.items():
            record = records[subject]
            self.assertEqual([r["address"] for r in record["recipients"]], to)
            for recipient in record["recipients"]:
                address = recipient["address"]
                events = [e for e in record["events"] if e.get("recipient") == address]
                n_blamed += self.assert_recipient(address, recipient, events, copies.pop(address, 0))
                n_recipients += 1
        self.assertEqual(copies, {}, "nobody sent these")
        # Chance can hit one message three times in a row (blame.h), but rarely.
        self.assertLess(n_blamed, n_recipients / 20)
        return n_recipients, n_blamed

    def assert_rest(self, n_descriptors_most):
        def at_rest():
            return all(r["ready"] == 0 and r["connections"]["open"] == 0
                       and r["connections"]["opening"] == 0 and r["connections"]["idle"] == 0
                       for r in self.gateway.get("/v1/relays").json()["data"])

        deadline = time.monotonic() + 10
        while not at_rest() or n_descriptors(self.gateway) > n_descriptors_most:
            self.assertLess(time.monotonic(), deadline, self.gateway.get("/v1/relays").body)
            time.sleep(0.1)

    def test_the_books_balance(self):
        pipelining = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
        with StormyRelay(self.dice.random(), 3, (*pipelining, "CHUNKING")) as a, \
                StormyRelay(self.dice.random(), 2, pipelining) as b, \
                StormyRelay(self.dice.random(), 2, ("ENHANCEDSTATUSCODES", "AUTH PLAIN"),
                            ["first"]) as c, Gateway(start=False) as self.gateway:
            relays = {"a": a, "b": b, "c": c}
            password_file = f"{self.gateway.dir}/password"
            with open(password_file, "w") as f:
                f.write("first")
            login = {"username": "u", "password_file": password_file}
            self.gateway.configure({
                "drain": "5s", "queue": {"retry": ["200ms", "500ms"]},
                "relays": [a.settings("a"), c.settings("c", auth=login),
                           b.settings("b", rate={"messages": f"{B_PER_HOUR}/h"})],
                "routes": [{"match": {"to": "*@a.example"}, "relays": ["a", "b"]},
                           {"match": {"to": "*@b.example"}, "relays": ["b", "c"]},
                           {"match": {"to": "*@c.example"}, "relays": ["c", "a"]}]})
            self.gateway.start()
            n_descriptors_before = n_descriptors(self.gateway)
            posters = Posters(self.gateway, self.dice)
            operator = Operator(self.gateway, relays, password_file, self.dice)
            operator.storm()
            for thread in posters.threads:
                thread.join(60)
            self.assertEqual((posters.errors, len(posters.ids)), ([], MESSAGES))
            records = self.wait_for_all(operator, posters)
            self.assert_rest(n_descriptors_before + 4)
            n_recipients, n_blamed = self.assert_books(records, posters, relays)
            self.assertEqual([list(r.excess()) for r in relays.values()], [[], [], []])
            self.assertLessEqual(len({a.split("-")[1] for a in b.accepted}),
                                 B_PER_HOUR + IN_FLIGHT_MAX)
            n_doubts = sum(e["type"] == "message.in_doubt" for r in records.values()
                           for e in r["events"])
            print(f"{MESSAGES} messages to {n_recipients}, {n_doubts} doubts, {n_blamed} blamed, "
                  f"{sum(len(r.sessions) for r in relays.values())} connections, faults "
                  f"{dict(sum((r.n_faults for r in relays.values()), collections.Counter()))}")


if __name__ == "__main__":
    unittest.main()
