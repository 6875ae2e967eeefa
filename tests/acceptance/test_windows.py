"""Messages behind one another on one connection: what they cost, and what becomes of them when it
breaks. The dialogue alone is tried at every octet in tests/unit/service/smtp/test_windows.c."""
import collections
import random
import threading
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

WINDOW = 16

N_MESSAGES = 16
CUTS_EACH_WAY = 6
PLAIN = ("8BITMIME", "ENHANCEDSTATUSCODES")
PIPELINING = ("PIPELINING", *PLAIN)
CHUNKING = ("CHUNKING", *PIPELINING)


class HeldRelay(FakeRelay):
    """Greets nobody before release(), so that all messages of a test are there by then. Some
    recipients and some contents it refuses, by their number."""

    def __init__(self, extensions, refuses=False, **more):
        self.released, self.refuses = threading.Event(), refuses
        super().__init__(self.behave, extensions, **more)

    def behave(self, session, event, argument):
        if event == "connect":
            self.released.wait(30)
        if event == "rcpt" and self.refuses and number(argument) % 5 == 4:
            return "550 5.1.1 nobody\r\n"
        if event == "dot" and self.refuses and number(session.recipients[0]) % 7 == 6:
            return "554 5.6.0 not this content\r\n"
        return None

    def settings(self, **more):
        return super().settings(connections={"max": 1, "max_messages": 0},
                                **{"window": WINDOW, **more})


def number(address):
    return int(address.split("@")[0].split("-")[1])


def post_all(gateway, addresses):
    return {address: gateway.post({"from": "a@example.com", "to": address, "subject": address,
                                   "text": ".dot\n" * (1 + number(address))}).json()["id"]
            for address in addresses}


class RoundTrips(unittest.TestCase):
    def assert_trips(self, extensions, n, least, most, **settings):
        """Flights of the client behind EHLO, until the last message was taken."""
        with HeldRelay(extensions, gathers=True) as relay, Gateway({
                "relays": [relay.settings(**settings)]}) as gateway:
            ids = post_all(gateway, [f"r-{i}@example.net" for i in range(n)])
            relay.released.set()
            for id in ids.values():
                self.assertEqual(gateway.wait_for(id)["status"], "sent")
            self.assertEqual(len(relay.sessions), 1)
            trips = relay.sessions[0].wire.n_dry - 1
            self.assertTrue(least <= trips <= most, f"{trips} for {n} messages")

    def test_without_extensions(self):
        self.assert_trips(PLAIN, 6, 24, 24)

    def test_a_window_of_one(self):
        self.assert_trips(PIPELINING, 12, 24, 24, window=1)
        self.assert_trips(CHUNKING, 20, 20, 20, window=1)

    def test_pipelining(self):
        self.assert_trips(PIPELINING, 30, 30, 34)  # the first two have each one more

    def test_chunking(self):
        opening = 1 + 2 + 8  # the window doubles with each message taken
        self.assert_trips(CHUNKING, opening + 3 * WINDOW, 6, 10)


class Breaks(unittest.TestCase):
    """A connection breaks behind an octet, of either direction, of an exchange of 16 messages."""

    def exchange(self, gateway, relay, round, cut):
        relay.hang_up()
        relay.released.clear()
        relay.cuts = [cut]
        first = len(relay.sessions)
        ids = post_all(gateway, [f"{round}-{i}@example.net" for i in range(N_MESSAGES)])
        relay.released.set()
        records = {address: gateway.wait_for(id) for address, id in ids.items()}
        return records, relay.sessions[first].wire

    def assert_ledger(self, records, relay, where):
        copies = collections.defaultdict(list)
        for _, recipients, content in relay.arrived:
            copies[recipients[0]].append(content)
        taken = collections.Counter(m[1][0] for m in relay.messages)
        for address, record in records.items():
            events = [e["type"].removeprefix("message.") for e in record["events"]]
            n_doubts = events.count("in_doubt")
            n = number(address)
            with self.subTest(address=address, events=events, where=where):
                end = "failed" if n % 5 == 4 or n % 7 == 6 else "sent"
                self.assertEqual((events[0], events[-1]), ("queued", end))
                self.assertLessEqual(set(events[1:-1]), {"deferred", "in_doubt"})
                n_copies = len(copies[address])
                self.assertGreaterEqual(n_copies, 0 if n % 5 == 4 else 1)
                self.assertLessEqual(n_copies, (0 if n % 5 == 4 else 1) + n_doubts)
                self.assertEqual(len(set(copies[address])), min(n_copies, 1), "the same octets")
                self.assertEqual(taken[address] > 0, end == "sent")

    def sweep(self, extensions):
        dice = random.Random(1)
        # It answers flight by flight, so that an exchange is the same each time, and as long; where
        # each flight is one command it is so anyway.
        gathers = "PIPELINING" in extensions
        with HeldRelay(extensions, refuses=True, gathers=gathers) as relay, Gateway({
                "queue": {"retry": ["100ms"]}, "relays": [relay.settings()]}) as gateway:
            records, whole = self.exchange(gateway, relay, 0, (None, None))
            self.assert_ledger(records, relay, "whole")
            cuts = []
            for i in range(CUTS_EACH_WAY):
                part = (i + dice.random()) / CUTS_EACH_WAY
                cuts += [(int(part * whole.n_in), None), (None, int(part * whole.n_out))]
            for round, cut in enumerate(cuts, 1):
                records, wire = self.exchange(gateway, relay, round, cut)
                self.assert_ledger(records, relay, cut)
                self.assertIn(cut, ((wire.n_in, None), (None, wire.n_out)), "it broke elsewhere")

    def test_without_extensions(self):
        self.sweep(PLAIN)

    def test_with_pipelining(self):
        self.sweep(PIPELINING)

    def test_with_chunking(self):
        self.sweep(CHUNKING)


if __name__ == "__main__":
    unittest.main()
