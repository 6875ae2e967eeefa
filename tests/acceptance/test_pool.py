"""What a pool of connections must not be brought to: by relays that say odd things at odd moments, by
mail that no relay will have, by mail that makes every relay complain."""
import collections
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway, message, wait_until

ENHANCED = ("ENHANCEDSTATUSCODES",)


def relay(gateway, name="fake"):
    return gateway.get(f"/v1/relays/{name}").json()


def pause(gateway, name="fake"):
    return gateway.request("POST", f"/v1/relays/{name}/pause")


def resume(gateway, name="fake"):
    return gateway.request("POST", f"/v1/relays/{name}/resume")


class Idle(unittest.TestCase):
    """Connections that have nothing to do."""

    def test_one_that_has_begun_to_say_something_is_given_no_mail(self):
        with FakeRelay() as fake, Gateway({"relays": [fake.settings()]}) as gateway:
            gateway.post(message(), {"Prefer": "wait=60"})
            fake.sessions[0].sock.sendall(b"421 4.4.2 I am abo")
            wait_until(lambda: relay(gateway)["connections"]["idle"] == 1)
            time.sleep(0.3)
            answer = gateway.post(message(), {"Prefer": "wait=60"})
            self.assertEqual((answer.status, answer.json()["recipients"][0]["attempts"]), (200, 1))
            self.assertEqual([s.n_messages for s in fake.sessions], [1, 1])

    def test_one_that_was_never_used_may_end_without_trouble(self):
        greet = threading.Event()

        def slow_greeting(session, event, argument):
            if event == "connect" and session is not fake.sessions[0]:
                greet.wait(120)
            return None

        with FakeRelay(slow_greeting, ENHANCED) as fake:
            with Gateway({"relays": [fake.settings(connections={"max": 2}, window=1)]}) as gateway:
                pause(gateway)
                ids = [gateway.post(message()).json()["id"] for _ in range(20)]
                resume(gateway)
                for id in ids:
                    gateway.wait_for(id)
                self.assertEqual(len(fake.sessions), 2)
                greet.set()
                wait_until(lambda: relay(gateway)["connections"]["idle"] == 2)
                for session in fake.sessions:
                    session.sock.sendall(b"421 4.4.2 you say nothing\r\n")
                    session.wire.close()
                wait_until(lambda: relay(gateway)["connections"]["open"] == 0)
                self.assertEqual(relay(gateway)["state"], "up")
                self.assertIsNone(relay(gateway)["last_error"])


class Ends(unittest.TestCase):
    def test_one_past_its_lifetime_takes_no_more(self):
        """Neither one that is busy when its lifetime ends, nor one that is idle then."""
        answer = threading.Event()

        def waits(session, event, argument):
            if event == "dot" and session is fake.sessions[0]:
                answer.wait(120)
            return None

        with FakeRelay(waits) as fake:
            settings = fake.settings(connections={"max": 1, "lifetime": "1s"}, window=1)
            with Gateway({"relays": [settings]}) as gateway:
                ids = [gateway.post(message()).json()["id"] for _ in range(2)]
                wait_until(lambda: fake.arrived)
                time.sleep(1.5)  # longer does no harm
                answer.set()
                for id in ids:
                    self.assertEqual(gateway.wait_for(id)["status"], "sent")
                self.assertEqual(fake.sessions[0].n_messages, 1)
                self.assertEqual(fake.sessions[0].commands[-1], "QUIT")
                wait_until(lambda: relay(gateway)["connections"]["open"] == 0)
                self.assertEqual({s.commands[-1] for s in fake.sessions}, {"QUIT"})
                self.assertEqual(relay(gateway)["state"], "up")
                self.assertIsNone(relay(gateway)["last_error"])

    def test_a_login_may_take_longer_than_a_connection_lives(self):
        def slow_greeting(session, event, argument):
            if event == "connect":
                time.sleep(0.5)
            return None

        with FakeRelay(slow_greeting) as fake:
            settings = fake.settings(connections={"lifetime": "300ms"})
            with Gateway({"relays": [settings]}) as gateway:
                self.assertEqual(gateway.post(message(), {"Prefer": "wait=60"}).status, 200)

    def test_a_drain_does_not_wait_for_who_does_not_greet(self):
        def silent(session, event, argument):
            if event == "connect":
                session.wire.fill()  # until we are left
                session.drop()

        with FakeRelay(silent) as fake:
            settings = {"relays": [fake.settings(timeouts={"greeting": "10m"})], "drain": "10m"}
            with Gateway(settings) as gateway:
                gateway.post(message())
                wait_until(lambda: relay(gateway)["connections"]["opening"] == 1)
                self.assertEqual(gateway.term(timeout=120), 0)

    def test_who_says_timeout_and_goes_on_is_in_doubt(self):
        """421 is a farewell; 451 4.4.2 may be one. What stood whole behind it may have been taken."""
        said, greet, copies = [], threading.Event(), collections.Counter()

        def times_out_once(session, event, argument):
            if event == "connect":
                greet.wait(120)
            if event == "rcpt" and argument == "other20@example.net" and not said:
                said.append(argument)
                return "451 4.4.2 timeout\r\n"
            if event == "dot":
                copies[session.recipients[0]] += 1
            return None

        extensions = ("PIPELINING", "CHUNKING", *ENHANCED)
        with FakeRelay(times_out_once, extensions, gathers=True) as fake:
            with Gateway({"relays": [fake.settings(connections={"max": 1})],
                          "queue": {"retry": ["100ms"]}}) as gateway:
                ids = {f"r{i}@example.net": gateway.post(message(
                           [f"r{i}@example.net", f"other{i}@example.net"])).json()["id"]
                       for i in range(40)}
                greet.set()
                for address, id in ids.items():
                    events = [e["type"] for e in gateway.wait_for(id)["events"]
                              if e.get("recipient") == address]
                    self.assertEqual(copies[address], 1 + events.count("message.in_doubt"), events)


class Refused(unittest.TestCase):
    """Mail that a relay will not have."""

    def test_what_is_not_even_sent_holds_up_nothing(self):
        with FakeRelay(extensions=("PIPELINING", "SIZE 1000")) as fake:
            with Gateway({"relays": [fake.settings()]}) as gateway:
                gateway.post(message(), {"Prefer": "wait=60"})
                pause(gateway)
                ids = [gateway.post(message(text="x" * 2000)).json()["id"] for _ in range(9)]
                resume(gateway)
                for id in ids:
                    self.assertEqual(gateway.wait_for(id, seconds=60)["status"], "failed")

    def test_too_many_are_tried_at_once_though_nobody_was_accepted(self):
        def first_two_are_unknown(session, event, argument):
            if event == "rcpt" and argument[:2] in ("r0", "r1"):
                return "550 5.1.1 nobody\r\n"
            return None

        with FakeRelay(first_two_are_unknown, ("LIMITS RCPTMAX=2", *ENHANCED)) as fake:
            with Gateway({"relays": [fake.settings()], "queue": {"retry": ["1h"]}}) as gateway:
                answer = gateway.post(message([f"r{i}@example.net" for i in range(6)]),
                                      {"Prefer": "wait=60"}).json()
                self.assertEqual([r["status"] for r in answer["recipients"]],
                                 ["failed"] * 2 + ["sent"] * 4)
                self.assertEqual({r["attempts"] for r in answer["recipients"]}, {1})

    def test_mail_of_a_paused_relay_expires(self):
        with FakeRelay() as fake, Gateway({"relays": [fake.settings()]}) as gateway:
            pause(gateway)
            waiting = gateway.post(message(ttl="1s")).json()["id"]
            record = gateway.wait_for(waiting, seconds=60)
            self.assertEqual(record["status"], "failed")
            self.assertIn("expired", record["recipients"][0]["reply"]["text"])


class Waiting(unittest.TestCase):
    def test_mail_moves_to_a_relay_whose_pause_is_over(self):
        told = []

        def rate(session, event, argument):
            if event == "dot" and not told:
                told.append(1)
                return "454 Throttling failure: Maximum sending rate exceeded\r\n"
            return None

        with FakeRelay() as first, FakeRelay(rate) as second:
            settings = {"relays": [first.settings(name="first"),
                                   second.settings(name="second", connections={"idle": "100ms"})]}
            with Gateway(settings, speed=5) as gateway:
                pause(gateway, "first")
                gateway.post(message(relay="second", ttl="5s"))
                wait_until(lambda: relay(gateway, "second")["state"] == "throttled")
                waiting = gateway.post(message()).json()["id"]
                record = gateway.wait_for(waiting, seconds=60)
                self.assertEqual(record["status"], "sent")
                self.assertEqual(record["recipients"][0]["relay"], "second")

    def test_mail_leaves_when_only_a_door_that_stays_shut_is_left(self):
        """The connection that was inside has gone, and another still knocks."""
        gone = threading.Event()

        def shuts(session, event, argument):
            if event == "connect" and session is not first.sessions[0]:
                gone.wait(300)
                session.drop()
            if event == "dot":
                wait_until(lambda: len(first.sessions) > 1)
            return None

        with FakeRelay(shuts) as first, FakeRelay() as second:
            settings = {"relays": [first.settings(name="first", window=1, connections={"max": 2}),
                                   second.settings(name="second")]}
            with Gateway(settings) as gateway:
                pause(gateway, "first")
                pause(gateway, "second")
                ids = [gateway.post(message()).json()["id"] for _ in range(2)]
                resume(gateway, "first")
                for id in ids:
                    self.assertEqual(gateway.wait_for(id)["status"], "sent")
                resume(gateway, "second")
                first.sessions[0].wire.close()
                wait_until(lambda: relay(gateway, "first")["connections"]["open"] == 0)
                record = gateway.wait_for(gateway.post(message()).json()["id"], seconds=60)
                self.assertEqual(record["recipients"][0]["relay"], "second")
                gone.set()


class Poison(unittest.TestCase):
    """A message on which a relay complains of itself, while it takes all others."""

    def outcome_of(self, behaviour, **more):
        with FakeRelay(behaviour, **more) as fake:
            with Gateway({"relays": [fake.settings(connections={"max": 1}, window=1)],
                          "queue": {"retry": ["1h"]}}, speed=5) as gateway:
                bad = gateway.post(message("bad@example.net")).json()["id"]
                good = []
                wait_until(lambda: good.append(gateway.post(message()).json()["id"]) or
                           gateway.record(bad)["status"] == "deferred" or time.sleep(0.1), 120)
                for id in good:
                    self.assertEqual(gateway.wait_for(id)["status"], "sent")
                    self.assertEqual(gateway.record(id)["recipients"][0]["attempts"], 1)
                return gateway.record(bad)["recipients"][0]

    def test_by_a_reply(self):
        for reply in ("421 4.3.0 try again\r\n", "451 4.3.2 not now\r\n"):
            with self.subTest(reply):
                def complains(session, event, argument):
                    if event == "dot" and session.recipients == ["bad@example.net"]:
                        return reply
                    return None

                recipient = self.outcome_of(complains)
                self.assertEqual((recipient["status"], recipient["attempts"]), ("deferred", 1))
                self.assertEqual(recipient["reply"]["code"], int(reply[:3]))

    def test_by_an_end_before_any_reply(self):
        def cuts(session, event, argument):
            if event == "rcpt" and argument == "bad@example.net":
                session.wire.unsent = b""  # the reply to MAIL
                session.drop()
            return None

        recipient = self.outcome_of(cuts, gathers=True)
        self.assertEqual((recipient["status"], recipient["attempts"]), ("deferred", 1))

    def test_a_relay_that_takes_nothing_costs_nothing(self):
        left = [6]

        def busy(session, event, argument):
            if event == "dot" and left[0] > 0:
                left[0] -= 1
                return "451 4.3.2 not now\r\n"
            return None

        with FakeRelay(busy) as fake:
            with Gateway({"relays": [fake.settings(connections={"max": 1})]}) as gateway:
                ids = [gateway.post(message()).json()["id"] for _ in range(2)]
                while (before := left[0]) > 0:
                    resume(gateway)
                    wait_until(lambda: left[0] < before, 60)
                for id in ids:
                    resume(gateway)
                    record = gateway.wait_for(id)
                    self.assertEqual((record["status"], record["recipients"][0]["attempts"]),
                                     ("sent", 1))


if __name__ == "__main__":
    unittest.main()
