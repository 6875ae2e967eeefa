"""Several relays: routes, failover, limits, and what a relay's replies do to it."""
import socket
import statistics
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway, message, wait_until
from ports import bound_socket


def relay(gateway, name):
    return gateway.get(f"/v1/relays/{name}").json()


class BlackHole:
    """An address that takes no connection and refuses none: its backlog is full."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)
        time.sleep(0.1)

    def settings(self, **more):
        return {"host": "127.0.0.1", "port": self.port, "tls": "none", **more}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in [*self.fillers, self.listener]:
            s.close()


class Routes(unittest.TestCase):
    def test_by_what_a_message_says_of_itself(self):
        with FakeRelay() as a, FakeRelay() as b, FakeRelay() as c:
            settings = {
                "api_keys": [{"name": "billing", "key": "k1"}, {"name": "web", "key": "k2"},
                             {"name": "fixed", "key": "k3", "relay": "c"}],
                "relays": [a.settings(name="a"), b.settings(name="b"), c.settings(name="c")],
                "routes": [
                    {"match": {"from": "*@sales.example"}, "relays": ["b"]},
                    {"match": {"to": "*@partner.example"}, "relays": ["c"]},
                    {"match": {"tag": ["bulk", "news"]}, "relays": ["c", "b"]},
                    {"match": {"api_key": "billing", "priority": "high"}, "relays": ["b"]},
                ]}
            cases = [("a", "k2", message()),
                     ("b", "k2", message(**{"from": "x@sales.example"})),
                     ("c", "k2", message("z@partner.example")),
                     ("c", "k2", message(tags=["x", "news"])),
                     ("b", "k1", message(priority="high")),
                     ("a", "k1", message()),
                     ("c", "k3", message()),
                     ("b", "k2", message(relay="b"))]
            with Gateway(settings) as gateway:
                for name, key, body in cases:
                    answer = gateway.post(body, {"Prefer": "wait=20",
                                                 "Authorization": f"Bearer {key}"})
                    self.assertEqual(answer.status, 200, answer.body)
                    self.assertEqual(answer.json()["recipients"][0]["relay"], name, body)
                refused = gateway.post(message(relay="d"), {"Authorization": "Bearer k2"})
                self.assertEqual(refused.status, 422)
                self.assertEqual(refused.json()["errors"][0]["pointer"], "/relay")
                refused = gateway.post(message(relay="a"), {"Authorization": "Bearer k3"})
                self.assertEqual(refused.status, 403)
                self.assertEqual(refused.json()["errors"][0]["pointer"], "/relay")

    def test_recipients_of_one_message_go_their_own_ways(self):
        with FakeRelay() as a, FakeRelay() as b:
            settings = {"relays": [a.settings(name="a"), b.settings(name="b")],
                        "routes": [{"match": {"to": "*@b.example"}, "relays": ["b"]}]}
            with Gateway(settings) as gateway:
                answer = gateway.post(message(["1@a.example", "2@b.example", "3@a.example"]),
                                      {"Prefer": "wait=20"}).json()
                self.assertEqual([r["relay"] for r in answer["recipients"]], ["a", "b", "a"])
                self.assertEqual({r["attempts"] for r in answer["recipients"]}, {1})
                self.assertEqual([m[1] for m in a.messages], [("1@a.example", "3@a.example")])
                self.assertEqual([m[1] for m in b.messages], [("2@b.example",)])


class Failover(unittest.TestCase):
    def test_a_relay_that_refuses_and_comes_back(self):
        later = bound_socket()
        with FakeRelay() as second:
            first = {"name": "first", "host": "127.0.0.1", "port": later.getsockname()[1],
                     "tls": "none"}
            with Gateway({"relays": [first, second.settings(name="second")]}) as gateway:
                answer = gateway.post(message(), {"Prefer": "wait=20"}).json()
                self.assertEqual(answer["recipients"][0]["relay"], "second")
                self.assertEqual(answer["recipients"][0]["attempts"], 1)
                self.assertEqual(relay(gateway, "first")["state"], "down")
                self.assertEqual(relay(gateway, "first")["last_error"]["code"], "connect_refused")
                with FakeRelay(listener=later) as back:
                    gateway.post(message(), {"Prefer": "wait=20"})  # it is looked at again for this
                    wait_until(lambda: relay(gateway, "first")["state"] == "up", 40)
                    answer = gateway.post(message(), {"Prefer": "wait=20"}).json()
                    self.assertEqual(answer["recipients"][0]["relay"], "first")
                    self.assertEqual(len(back.messages), 1)

    def test_one_that_is_black_holed_is_left_in_seconds(self):
        with BlackHole() as hole, FakeRelay() as second:
            settings = {"relays": [hole.settings(name="hole"), second.settings(name="second")]}
            with Gateway(settings) as gateway:
                answer = gateway.post(message(), {"Prefer": "wait=30"}).json()
                self.assertEqual(answer["recipients"][0]["relay"], "second")
                self.assertEqual(answer["recipients"][0]["attempts"], 1)
                wait_until(lambda: relay(gateway, "hole")["last_error"] is not None, 30)
                self.assertEqual(relay(gateway, "hole")["last_error"]["code"], "connect_timeout")

    def test_one_that_is_black_holed_slows_no_other(self):
        def latencies(gateway):
            took = []
            for _ in range(60):
                begun = time.monotonic()
                answer = gateway.post(message(relay="good"), {"Prefer": "wait=20"})
                took.append(time.monotonic() - begun)
                self.assertEqual(answer.status, 200)
            return statistics.median(took)

        with BlackHole() as hole, FakeRelay() as good:
            settings = {"relays": [hole.settings(name="hole"), good.settings(name="good")]}
            with Gateway(settings) as gateway:
                alone = latencies(gateway)
                for _ in range(300):
                    gateway.post(message(relay="hole"))
                beside = latencies(gateway)
            print(f"median beside a black hole {beside * 1000:.1f} ms, alone {alone * 1000:.1f} ms")
            self.assertLess(beside, 5 * alone + 0.05)

    def test_recovery_is_no_stampede(self):
        later = bound_socket()
        most = [0]
        arrivals = []

        def watch(session, event, argument):
            if event == "connect":
                arrivals.append(len(back.messages))
                most[0] = max(most[0], len(arrivals))
                if len(arrivals) == 1:  # whoever knocks first is let in slowly
                    time.sleep(1)
                    self.assertEqual(len(arrivals), 1)
            return None

        settings = {"relays": [{"name": "only", "host": "127.0.0.1", "tls": "none",
                                "port": later.getsockname()[1], "connections": {"max": 8}}]}
        with Gateway(settings) as gateway:
            ids = [gateway.post(message()).json()["id"] for _ in range(200)]
            wait_until(lambda: relay(gateway, "only")["state"] == "down")
            with FakeRelay(watch, listener=later) as back:
                back.wait_for(200, 40)
                wait_until(lambda: gateway.record(ids[-1])["status"] == "sent")
                self.assertEqual({gateway.record(i)["recipients"][0]["attempts"] for i in ids}, {1})
                self.assertLessEqual(len(arrivals), 8 + 2)


class Replies(unittest.TestCase):
    def test_too_many_connections_lower_the_cap(self):
        busy, lock, refused = [0], threading.Lock(), [0]

        def at_most_two(session, event, argument):
            if event == "mail":
                with lock:
                    busy[0] += 1
                    if busy[0] > 2:
                        busy[0] -= 1
                        refused[0] += 1
                        return "432 4.3.2 Concurrent connections limit exceeded\r\n"
            if event == "dot":
                time.sleep(0.02)
                with lock:
                    busy[0] -= 1
            return None

        with FakeRelay(at_most_two, extensions=("ENHANCEDSTATUSCODES",)) as fake:
            with Gateway({"relays": [fake.settings(connections={"max": 6})]}) as gateway:
                ids = [gateway.post(message()).json()["id"] for _ in range(60)]
                fake.wait_for(60)
                for i in ids:
                    record = gateway.wait_for(i)
                    self.assertEqual(record["status"], "sent")
                    self.assertEqual(record["recipients"][0]["attempts"], 1)
                self.assertGreater(refused[0], 0)
                self.assertLess(relay(gateway, "fake")["connections"]["bears"], 6)

    def test_too_many_logins_stop_new_connections_only(self):
        logins = [0]

        def one_login(session, event, argument):
            if event == "other" and argument.startswith("AUTH"):
                logins[0] += 1
                return ("235 2.7.0 in\r\n" if logins[0] == 1 else
                        "454 4.7.0 Too many login attempts, please try again later\r\n")
            if event == "dot":
                time.sleep(0.02)
            return None

        with FakeRelay(one_login, extensions=("AUTH PLAIN", "ENHANCEDSTATUSCODES")) as fake:
            settings = fake.settings(auth={"username": "u", "password": "secret-word"},
                                     connections={"max": 4})
            with Gateway({"relays": [settings]}) as gateway:
                ids = [gateway.post(message()).json()["id"] for _ in range(40)]
                fake.wait_for(40)
                self.assertEqual({gateway.wait_for(i)["status"] for i in ids}, {"sent"})
                self.assertLessEqual(logins[0], 5)  # those that were opened at once
                self.assertEqual(relay(gateway, "fake")["last_error"]["code"], "throttled")
                self.assertNotIn("secret-word", gateway.log())

    def test_a_quota_pauses_though_it_is_a_5xx(self):
        def full(session, event, argument):
            return "550 5.4.5 Daily user sending limit exceeded\r\n" if event == "dot" else None

        with FakeRelay(full) as fake, FakeRelay() as other:
            with Gateway({"relays": [fake.settings(), other.settings(name="other")]}) as gateway:
                answer = gateway.post(message(), {"Prefer": "wait=20"}).json()
                self.assertEqual(answer["recipients"][0]["relay"], "other")
                self.assertEqual(answer["recipients"][0]["attempts"], 1)
                state = relay(gateway, "fake")
                self.assertEqual(state["state"], "throttled")
                self.assertGreater(state["retry_in_seconds"], 600)
                waiting = gateway.post(message(relay="fake")).json()["id"]
                time.sleep(0.5)
                self.assertEqual(gateway.record(waiting)["status"], "queued")
                resumed = gateway.request("POST", "/v1/relays/fake/resume")
                self.assertEqual(resumed.status, 200)
                wait_until(lambda: len(fake.arrived) == 2)  # tried again, and paused again

    def test_a_wrong_password_pauses_and_explains(self):
        def no(session, event, argument):
            if event == "other" and argument.startswith("AUTH"):
                return ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is "
                        "disabled for the Mailbox.\r\n")
            return None

        with FakeRelay(no, extensions=("AUTH LOGIN PLAIN",)) as fake:
            settings = fake.settings(auth={"username": "u", "password": "secret-word"})
            with Gateway({"relays": [settings]}) as gateway:
                waiting = gateway.post(message()).json()["id"]
                wait_until(lambda: relay(gateway, "fake")["state"] == "down")
                error = relay(gateway, "fake")["last_error"]
                self.assertEqual((error["step"], error["code"]), ("auth", "auth_failed"))
                self.assertIn("SmtpClientAuthenticationDisabled $false", error["hint"])
                self.assertEqual(gateway.record(waiting)["status"], "queued")
                self.assertEqual(gateway.record(waiting)["recipients"][0]["attempts"], 0)
                self.assertEqual(gateway.get("/readyz").status, 200)


class Limits(unittest.TestCase):
    def test_rates_and_what_is_left_of_them_after_a_restart(self):
        with FakeRelay() as fake:
            settings = fake.settings(rate={"messages": ["7/d", "1000/s"], "recipients": "100/h"})
            with Gateway({"relays": [settings]}) as gateway:
                ids = [gateway.post(message()).json()["id"] for _ in range(10)]
                fake.wait_for(7)
                time.sleep(0.7)
                self.assertEqual(len(fake.messages), 7)
                rates = relay(gateway, "fake")["rates"]
                self.assertEqual([(r["of"], r["limit"], r["seconds"]) for r in rates],
                                 [("messages", 7, 86400), ("messages", 1000, 1),
                                  ("recipients", 100, 3600)])
                self.assertEqual([rates[0]["used"], rates[2]["used"]], [7, 7])
                gateway.term()
                gateway.start()
                time.sleep(1)
                self.assertEqual(len(fake.messages), 7)
                self.assertEqual(relay(gateway, "fake")["rates"][0]["used"], 7)
                statuses = [gateway.record(i)["status"] for i in ids]
                self.assertEqual(sorted(statuses), ["queued"] * 3 + ["sent"] * 7)

    def test_recipients_of_a_transaction(self):
        with FakeRelay() as fake:
            with Gateway({"relays": [fake.settings(max_recipients=5)]}) as gateway:
                everybody = [f"r{i}@example.net" for i in range(12)]
                answer = gateway.post(message(everybody), {"Prefer": "wait=20"}).json()
                self.assertEqual(answer["status"], "sent")
                self.assertEqual({r["attempts"] for r in answer["recipients"]}, {1})
                self.assertEqual(sorted(len(m[1]) for m in fake.messages), [2, 5, 5])

    def test_priority_overtakes(self):
        gate = threading.Event()

        def slow(session, event, argument):
            if event == "dot":
                gate.wait(10)
            return None

        with FakeRelay(slow) as fake:
            with Gateway({"relays": [fake.settings(connections={"max": 1}, window=1)]}) as gateway:
                for i in range(30):
                    gateway.post(message(f"n{i}@example.net", priority="normal"))
                wait_until(lambda: len(fake.arrived) == 1)
                gateway.post(message("low@example.net", priority="low"))
                gateway.post(message("high@example.net", priority="high"))
                gate.set()
                fake.wait_for(32)
                order = [m[1][0] for m in fake.messages]
                self.assertLess(order.index("high@example.net"), 4)
                self.assertGreater(order.index("low@example.net"), 4)


class End(unittest.TestCase):
    def test_nobody_waits_for_a_relay_that_lets_nobody_in(self):
        def silent(session, event, argument):
            if event == "connect":
                time.sleep(30)
            return None

        with FakeRelay(silent) as fake:
            with Gateway({"relays": [fake.settings()], "drain": "600s"}) as gateway:
                gateway.post(message())
                wait_until(lambda: len(fake.sessions) > 0)
                self.assertEqual(gateway.term(), 0)


class Api(unittest.TestCase):
    def test_pause_and_resume(self):
        with FakeRelay() as fake:
            keys = [{"name": "root", "key": "r", "scopes": ["admin"]}, {"name": "app", "key": "a"}]
            root, app = {"Authorization": "Bearer r"}, {"Authorization": "Bearer a"}
            with Gateway({"relays": [fake.settings()], "api_keys": keys}) as gateway:
                self.assertEqual(
                    gateway.request("POST", "/v1/relays/fake/pause", headers=app).status, 403)
                paused = gateway.request("POST", "/v1/relays/fake/pause", headers=root)
                self.assertEqual((paused.status, paused.json()["state"]), (200, "paused"))
                gateway.post(message(), app)
                time.sleep(0.5)
                self.assertEqual(len(fake.messages), 0)
                gateway.request("POST", "/v1/relays/fake/resume", headers=root)
                fake.wait_for(1)
                listed = gateway.get("/v1/relays", app).json()["data"]
                self.assertEqual([(r["name"], r["state"]) for r in listed], [("fake", "up")])
                self.assertEqual(gateway.get("/v1/relays/none", app).status, 404)
                walked = gateway.request("POST", "/v1/relays/fake/verify", headers=root)
                self.assertTrue(walked.json()["ok"])
                self.assertNotRegex(walked.body.decode(), r"\d\.\d{10}", "digits nobody measured")

    def test_transcript_of_the_last_attempt(self):
        def odd(session, event, argument):
            if event == "other" and argument.startswith("AUTH"):
                return "235 2.7.0 in\r\n"
            return "451 4.3.0 later\r\n" if event == "rcpt" and "later" in argument else None

        with FakeRelay(odd, extensions=("PIPELINING", "AUTH PLAIN")) as fake:
            settings = fake.settings(auth={"username": "u", "password": "secret-word"})
            with Gateway({"relays": [settings]}) as gateway:
                answer = gateway.post(message(["bob@example.net", "later@example.net"],
                                              text="CONTENT-OF-IT\n"), {"Prefer": "wait=2"})
                record = gateway.get(f"/v1/messages/{answer.json()['id']}?transcript=1").json()
                lines = record["transcript"]["lines"]
                self.assertEqual(record["transcript"]["relay"], "fake")
                for line in ("S: 220 fake ESMTP", "C: AUTH PLAIN ...", "S: 451 4.3.0 later",
                             "C: MAIL FROM:<alice@example.com>"):
                    self.assertIn(line, lines)
                text = "\n".join(lines)
                self.assertNotIn("CONTENT-OF-IT", text)
                self.assertNotIn("c2VjcmV0", text)
                plain = gateway.get(f"/v1/messages/{answer.json()['id']}").json()
                self.assertNotIn("transcript", plain)
