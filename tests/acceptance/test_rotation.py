"""A password in a file that is replaced while the gateway runs."""
import base64
import os
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

OLD, NEW = "old-and-hidden", "new-and-hidden"
MESSAGE = {"from": "alice@example.com", "to": "bob@example.net", "subject": "hello", "text": "hi\n"}


def initial_response(password):
    return base64.b64encode(f"\0alice\0{password}".encode()).decode()


class Keeper:
    """The behaviour of a relay that knows one password at a time."""

    def __init__(self, password):
        self.password = password
        self.gate = threading.Event()  # until it is set, mail to slow@ is not answered
        self.used = []  # the password of each login that was let in

    def __call__(self, session, event, argument):
        if event == "other" and argument.startswith("AUTH"):
            if initial_response(self.password) not in argument:
                return "535 5.7.8 no\r\n"
            session.logged_in_with = self.password
            self.used.append(self.password)
            return "235 2.7.0 in\r\n"
        if event == "dot" and session.recipients == ["slow@example.net"]:
            self.gate.wait(20)


class Rotation(unittest.TestCase):
    def setUp(self):
        self.keeper = Keeper(OLD)
        self.relay = self.enterContext(FakeRelay(self.keeper, ("PIPELINING", "AUTH PLAIN")))
        self.gateway = self.enterContext(Gateway(start=False))
        self.file = os.path.join(self.gateway.dir, "password")
        self.replace(OLD)
        self.gateway.configure({"relays": [self.relay.settings(
            auth={"username": "alice", "password_file": self.file}, connections={"max": 1})]})
        self.gateway.start()
        self.addCleanup(self.check_log)

    def check_log(self):
        """Neither password is anywhere in it, nor what goes over the wire of them."""
        for password in (OLD, NEW):
            self.assertNotIn(password, self.gateway.log())
            self.assertNotIn(initial_response(password), self.gateway.log())

    def replace(self, password):
        """By a rename, as Kubernetes does it: there is no moment without a password."""
        with open(self.file + ".new", "w", encoding="ascii") as f:
            f.write(password + "\n")
        os.rename(self.file + ".new", self.file)

    def post(self, to="bob@example.net"):
        return self.gateway.post({**MESSAGE, "to": to}).json()["id"]

    def last_error(self):
        return self.gateway.get("/v1/relays/fake").json()["last_error"]

    def wait_until(self, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.gateway.log())
            time.sleep(0.05)

    def verify(self):
        return self.gateway.request("POST", "/v1/relays/fake/verify").json()

    def test_a_password_that_is_refused(self):
        """Mail flows within seconds, whatever the pause for the login was."""
        self.keeper.password = NEW
        waiting = self.post()
        self.wait_until(lambda: self.last_error() is not None)
        self.assertEqual(self.last_error()["code"], "auth_failed")
        self.assertEqual(self.gateway.record(waiting)["recipients"][0]["attempts"], 0)
        self.replace(NEW)
        record = self.gateway.wait_for(waiting, seconds=15)
        self.assertEqual((record["status"], record["recipients"][0]["attempts"]), ("sent", 1))
        self.assertEqual(self.keeper.used, [NEW])

    def test_connections_of_the_old_one_are_given_up(self):
        """An idle one soon; a busy one behind what it carries."""
        self.gateway.wait_for(self.post())
        self.replace(NEW)
        self.keeper.password = NEW
        self.wait_until(lambda: "QUIT" in self.relay.sessions[0].commands)
        slow = self.post("slow@example.net")
        self.wait_until(lambda: len(self.relay.arrived) == 2)
        self.replace(OLD)
        self.keeper.password = OLD
        self.wait_until(lambda: self.gateway.log().count("password read again") == 2)
        behind = self.post()
        self.assertNotIn("QUIT", self.relay.sessions[1].commands)
        self.keeper.gate.set()
        self.assertEqual(self.gateway.wait_for(slow)["status"], "sent")
        self.assertEqual(self.gateway.wait_for(behind)["status"], "sent")
        self.assertEqual([s.logged_in_with for s in self.relay.sessions], [OLD, NEW, OLD])
        self.assertEqual([s.n_messages for s in self.relay.sessions], [1, 1, 1])

    def test_a_verify_in_the_gateway_has_the_new_one(self):
        self.assertTrue(self.verify()["ok"])
        self.keeper.password = NEW
        self.assertEqual(self.verify()["error"]["code"], "auth_failed")
        self.replace(NEW)
        self.assertTrue(self.verify()["ok"])

    def test_a_file_that_is_no_password(self):
        """What was read last stays good, and that is said."""
        self.replace("")
        self.gateway.wait_for(self.post())
        self.replace(NEW + "\n" + OLD)
        self.assertEqual(self.gateway.wait_for(self.post())["status"], "sent")
        self.gateway.wait_for_log("could not be read again")
        self.assertTrue(self.verify()["ok"])


if __name__ == "__main__":
    unittest.main()
