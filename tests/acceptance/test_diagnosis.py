"""What is wrong with a relay, said the same by everybody: the API, the log, and the command line. And
then mended as the hint has it, with the same queue."""
import concurrent.futures
import json
import os
import re
import subprocess
import time
import unittest

import troubles
from gateway import POSTERN, Gateway

MESSAGE = {"from": "alice@example.com", "to": "bob@example.net", "subject": "hello", "text": "hi\n"}
SECONDS = 120  # to find out what is wrong, however loaded the machine


def told(error):
    return {key: error[key] for key in ("step", "code", "hint", "proved")}


class Diagnosis(unittest.TestCase):
    """Each relay has a trouble of its own and one message; nobody waits for another's."""

    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(troubles.Stage())
        cls.troubles = {provoke.__name__: provoke(cls.stage) for provoke in troubles.PROVOCATIONS}
        cls.gateway = cls.enterClassContext(Gateway({
            "relays": cls.named({name: t.settings for name, t in cls.troubles.items()}),
            "log": {"format": "json"}, "drain": "1s"}))
        cls.ids = {name: cls.gateway.post({**MESSAGE, "relay": name}).json()["id"]
                   for name in cls.troubles}
        cls.found = cls.for_each(cls.wait_for_the_cause)
        cls.verified = cls.for_each(cls.until_it_is_found(cls.verify_by_api))
        cls.shown = cls.for_each(cls.until_it_is_found(cls.verify_by_command))
        cls.before = cls.for_each(lambda name: cls.gateway.record(cls.ids[name]))
        cls.mend()
        cls.after = cls.for_each(lambda name: cls.gateway.wait_for(cls.ids[name]))

    @staticmethod
    def named(settings):
        """No timeout of a relay's but those that are its trouble passes by then."""
        return [{**s, "name": name, "timeouts": {"greeting": f"{3 * SECONDS}s",
                                                 **s.get("timeouts", {})}}
                for name, s in settings.items()]

    @classmethod
    def for_each(cls, look):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return dict(zip(cls.troubles, pool.map(look, cls.troubles)))

    @classmethod
    def last_error(cls, name):
        return cls.gateway.get(f"/v1/relays/{name}").json()["last_error"]

    @classmethod
    def last_line(cls, name):
        lines = [json.loads(line) for line in cls.gateway.log().splitlines()]
        of_it = [line for line in lines
                 if line["msg"] == "relay failure" and line["relay"] == name]
        return of_it[-1] if of_it else {}

    @classmethod
    def wait_for_the_cause(cls, name):
        """(last_error, the log's last line of it), when both have it, or in the end."""
        trouble, deadline = cls.troubles[name], time.monotonic() + SECONDS
        while True:
            error, line = cls.last_error(name), cls.last_line(name)
            found = (error is not None and error["code"] == line.get("code") == trouble.code
                     and re.search(trouble.hint, error["hint"]) and error["proved"] == trouble.proved
                     and error["hint"] == line.get("hint")
                     and error["proved"] == (line.get("proved") == "yes"))
            if found or time.monotonic() > deadline:
                return error, line
            time.sleep(0.1)

    @classmethod
    def until_it_is_found(cls, verify):
        """A verify is impatient, so what it could not try on a loaded machine is not proved."""
        def look(name):
            deadline = time.monotonic() + SECONDS
            while True:
                report = verify(name)
                if told(report["error"]) == told(cls.found[name][0]) or time.monotonic() > deadline:
                    return report
        return look

    @classmethod
    def verify_by_api(cls, name):
        return cls.gateway.request("POST", f"/v1/relays/{name}/verify").json()

    @classmethod
    def verify_by_command(cls, name):
        path = os.path.join(cls.gateway.dir, "postern.yaml")
        done = subprocess.run([POSTERN, "verify", "--json", "--config", path, name],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return json.loads(done.stdout)

    @classmethod
    def mend(cls):
        cls.gateway.term()
        cls.gateway.configure({"relays": cls.named({
            name: trouble.mended(cls.found[name][0]["hint"])
            for name, trouble in cls.troubles.items()})})
        cls.gateway.start()

    def check(self, name):
        trouble = self.troubles[name]
        error, line = self.found[name]
        report, shown = self.verified[name], self.shown[name]
        self.assertEqual((error["step"], error["code"]), (trouble.step, trouble.code))
        self.assertRegex(error["hint"], trouble.hint)
        self.assertRegex(error["detail"], trouble.detail)
        self.assertEqual((line["step"], line["code"], line["hint"], line.get("proved")),
                         (error["step"], error["code"], error["hint"],
                          "yes" if error["proved"] else None))
        self.assertEqual(told(report["error"]), told(shown["error"]))
        self.assertEqual(told(shown["error"]), told(error))

    def check_mail(self, name):
        (before,), (after,) = self.before[name]["recipients"], self.after[name]["recipients"]
        self.assertEqual((before["status"], before["attempts"]), ("queued", 0))
        self.assertEqual((after["status"], after["attempts"], after["relay"]), ("sent", 1, name))

    def test_no_secret_is_logged(self):
        self.assertNotIn("hidden", self.gateway.log())


def checked(name):
    def test(self):
        self.check(name)
        self.check_mail(name)
    return test


for each in troubles.PROVOCATIONS:
    setattr(Diagnosis, f"test_{each.__name__}", checked(each.__name__))


if __name__ == "__main__":
    unittest.main()
