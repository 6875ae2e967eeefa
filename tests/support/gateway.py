"""A gateway under test: the real binary in a folder of its own, on a port that the system gives it."""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from speed import environment

POSTERN = os.environ.get("POSTERN", "build/debug/postern")


FIXED = re.compile(r"127\.0\.0\.1:([1-9]\d*)")
LISTENING = re.compile(r'msg"?[=:]"?listening"?.*?address"?[=:]"?127\.0\.0\.1:(\d+)')


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Gateway:
    """Settings are YAML as a dict; `with` starts it and cleans up behind it. `speed`: how many times
    faster its clock runs than ours."""

    def __init__(self, settings=None, env=None, start=True, speed=1):
        self.dir = tempfile.mkdtemp(prefix="postern")
        self.port = None  # while it runs
        self.process = None
        self.env = {**environment(POSTERN, speed), **(env or {})}
        self.settings = {"listen": "127.0.0.1:0",
                         "queue": {"store": f"sqlite:{self.dir}/queue.db"}}
        self.configure(settings or {})
        if start:
            self.start()

    def configure(self, settings):
        for key, value in settings.items():
            if isinstance(value, dict) and isinstance(self.settings.get(key), dict):
                self.settings[key] = {**self.settings[key], **value}
            else:
                self.settings[key] = value

    def start(self, wait=True):
        path = os.path.join(self.dir, "postern.yaml")
        with open(path, "w") as f:
            json.dump(self.settings, f)  # JSON is YAML
        env = {k: v for k, v in os.environ.items() if not k.startswith("POSTERN_")}
        self.port = None
        self.log_file = open(os.path.join(self.dir, "log"), "ab")
        self.log_from = self.log_file.tell() if self.log_file.seekable() else 0
        self.process = subprocess.Popen([POSTERN, "serve", "--config", path],
                                        env={**env, **self.env}, stderr=self.log_file)
        return self.wait_until_it_listens() if wait else self

    def find_port(self):
        """As the log says, since it started; where nobody can read that, as it was told."""
        told = FIXED.fullmatch(str(self.settings["listen"]))
        if told:
            return int(told[1])
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            f.seek(self.log_from)
            found = LISTENING.search(f.read())
        return int(found[1]) if found else None

    def wait_until_it_listens(self, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.port = self.find_port()
                if self.port is not None and self.get("/livez").status == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the gateway did not start:\n" + self.log())
            time.sleep(0.01)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, message, headers=None, path="/v1/messages"):
        body = message if isinstance(message, (str, bytes)) else json.dumps(message)
        return self.request("POST", path, body,
                            {"Content-Type": "application/json", **(headers or {})})

    def record(self, id):
        return self.get(f"/v1/messages/{id}").json()

    def wait_for(self, id, statuses=("sent", "failed", "partial", "canceled"), seconds=90):
        deadline = time.monotonic() + seconds
        while True:
            record = self.record(id)
            if record.get("status") in statuses or time.monotonic() > deadline:
                return record
            time.sleep(0.05)

    def log(self):
        """All that was logged until now: a thread of the gateway's writes it."""
        deadline = time.monotonic() + 60
        while self.port is not None and self.process.poll() is None and time.monotonic() < deadline:
            try:
                found = re.search(r"^postern_log_waiting_bytes (\d+)$",
                                  self.get("/metrics").body.decode(), re.M)
            except (OSError, http.client.HTTPException):
                break  # it is ending, or takes nobody in
            if found is None or found[1] == "0":
                break
        return self.read_log()

    def read_log(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return f.read()

    def wait_for_log(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in self.read_log():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in the log: {text}\n{self.log()}")
            time.sleep(0.05)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log_file.close()

    def term(self, timeout=90):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout)
        self.log_file.close()
        return status

    def restart(self):
        self.kill()
        return self.start()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            try:
                self.term()
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def message(to="bob@example.net", **more):
    recipients = to if isinstance(to, list) else [to]
    return {"from": "alice@example.com", "to": recipients, "subject": "hello", "text": "hi\n", **more}


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to be")
        time.sleep(0.02)
