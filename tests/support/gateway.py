"""A gateway under test: the real binary in a folder of its own, on a free port."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from speed import environment

POSTERN = os.environ.get("POSTERN", "build/debug/postern")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


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
        self.port = free_port()
        self.process = None
        self.env = {**environment(POSTERN, speed), **(env or {})}
        self.settings = {"listen": f"127.0.0.1:{self.port}",
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
        self.log_file = open(os.path.join(self.dir, "log"), "ab")
        self.process = subprocess.Popen([POSTERN, "serve", "--config", path],
                                        env={**env, **self.env}, stderr=self.log_file)
        deadline = time.monotonic() + 20
        while wait:
            try:
                if self.get("/livez").status == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the gateway did not start:\n" + self.log())
            time.sleep(0.02)
        return self

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

    def wait_for(self, id, statuses=("sent", "failed", "partial", "canceled"), seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            record = self.record(id)
            if record.get("status") in statuses or time.monotonic() > deadline:
                return record
            time.sleep(0.05)

    def log(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return f.read()

    def wait_for_log(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text not in self.log():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in the log: {text}\n{self.log()}")
            time.sleep(0.05)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log_file.close()

    def term(self, timeout=40):
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
                self.term(10)
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


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to be")
        time.sleep(0.02)
