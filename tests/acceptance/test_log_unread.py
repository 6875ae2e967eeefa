"""A log that cannot be written stops no mail: a pipe nobody reads, a disk that is full, no stderr."""
import fcntl
import http.client
import os
import re
import signal
import threading
import unittest
import unittest.mock

import gateway
from gateway import POSTERN, Gateway, message, wait_until
from ports import hold_port

N_MESSAGES = 650  # at level debug their lines are far more than the 64 KiB of a pipe
DROPPED = "postern_log_lines_dropped_total"


class Muted(Gateway):
    """A gateway whose log is a pipe that is not read unless a test does."""

    def __init__(self, settings=None):
        super().__init__({"log": {"level": "debug"}, "listen": f"127.0.0.1:{hold_port()}",
                          **(settings or {})}, start=False)
        self.path = os.path.join(self.dir, "log")
        self.reader = None

    def start_into_pipe(self):
        os.mkfifo(self.path)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        return self.start()

    def log(self):
        return "(not read)"  # it would wait for the end of the pipe

    def close(self):
        super().close()
        if self.reader is not None:
            os.close(self.reader)

    def read_on(self):
        """From now on somebody reads; the octets gather in what is returned."""
        os.set_blocking(self.reader, True)
        octets = bytearray()

        def read():
            while some := os.read(self.reader, 1 << 16):
                octets.extend(some)
        thread = threading.Thread(target=read)
        thread.start()
        return octets, thread

    def metric(self, name):
        found = re.search(rf"^{name} (\d+)$", self.get("/metrics").body.decode(), re.M)
        return int(found[1]) if found else None

    def n_sent(self):
        return sum(int(n) for n in re.findall(
            r'^postern_recipients_total\{[^}]*outcome="sent"[^}]*\} (\d+)$',
            self.get("/metrics").body.decode(), re.M))

    def deliver(self, n):
        """n messages are taken, and every one arrives."""
        before = self.n_sent()
        for i in range(n):
            answer = self.post(message(f"user{i}@example.net"))
            if answer.status != 202:
                raise AssertionError(answer.body)
        wait_until(lambda: self.n_sent() == before + n, 120)

    def fill(self):
        """Lines beyond what pipe and ring hold."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for _ in range(40):
            for _ in range(500):
                connection.request("GET", "/livez", headers={"X-Request-Id": "x" * 128})
                assert connection.getresponse().read() == b'{"status":"ok"}'
            if self.metric(DROPPED) > 0:
                break
        connection.close()


class Unread(unittest.TestCase):
    def check(self, g):
        g.deliver(N_MESSAGES)
        g.fill()
        self.assertGreater(g.metric(DROPPED), 0)
        g.deliver(20)
        self.assertEqual(g.get("/livez").status, 200)
        self.assertEqual(g.get("/readyz").status, 200)

    def test_a_pipe_nobody_reads(self):
        with Muted() as g:
            g.start_into_pipe()
            self.assertEqual(g.metric(DROPPED), 0)
            self.check(g)
            self.assertEqual(g.term(60), 0)

    def test_a_second_signal_with_a_pipe_nobody_reads(self):
        with Muted() as g:
            g.start_into_pipe()
            g.fill()
            g.process.send_signal(signal.SIGTERM)
            g.process.send_signal(signal.SIGINT)
            self.assertEqual(g.process.wait(60), 0)

    def test_what_was_dropped_is_told_when_the_pipe_is_read_again(self):
        with Muted() as g:
            g.start_into_pipe()
            g.fill()
            g.deliver(20)
            octets, thread = g.read_on()
            wait_until(lambda: b"log lines dropped" in octets)
            self.assertEqual(g.get("/livez").status, 200)
            dropped = g.metric(DROPPED)
            self.assertEqual(g.term(60), 0)
            g.log_file.close()
            thread.join(60)
            lines = bytes(octets).decode().split("\n")
            self.assertEqual(lines.pop(), "")
            self.assertEqual([line for line in lines if not line.startswith("ts=")], [])
            told = [int(n) for n in re.findall(r'msg="log lines dropped" n=(\d+)\n',
                                               bytes(octets).decode())]
            self.assertEqual(sum(told), dropped)
            self.assertIn("msg=ended orderly=yes", lines[-1])

    def test_a_pipe_somebody_made_non_blocking(self):
        with Muted() as g:
            g.start_into_pipe()
            flags = fcntl.fcntl(g.log_file, fcntl.F_GETFL)
            fcntl.fcntl(g.log_file, fcntl.F_SETFL, flags | os.O_NONBLOCK)
            self.check(g)
            self.assertEqual(g.term(60), 0)

    def test_a_reader_that_is_gone(self):
        with Muted() as g:
            g.start_into_pipe()
            os.close(g.reader)
            g.reader = None
            self.check(g)
            self.assertEqual(g.term(60), 0)

    def test_a_disk_that_is_full(self):
        with Muted() as g:
            os.symlink("/dev/full", g.path)
            g.start()
            self.check(g)
            self.assertEqual(g.term(60), 0)


class Closed(unittest.TestCase):
    """What is opened first must not become the stderr that was closed."""

    def test_no_standard_files_at_all(self):
        with Muted() as g:
            os.mkfifo(g.path)  # the gateway's start() wants a reader
            g.reader = os.open(g.path, os.O_RDONLY | os.O_NONBLOCK)
            wrapper = os.path.join(g.dir, "closed.sh")
            with open(wrapper, "w") as f:
                f.write(f"#!/bin/sh\nexec {os.path.abspath(POSTERN)} \"$@\" 0<&- 1>&- 2>&-\n")
            os.chmod(wrapper, 0o755)
            with unittest.mock.patch.object(gateway, "POSTERN", wrapper):
                g.start()
            for fd in range(3):
                self.assertEqual(os.readlink(f"/proc/{g.process.pid}/fd/{fd}"), "/dev/null")
            g.deliver(20)
            self.assertEqual(g.term(60), 0)


if __name__ == "__main__":
    unittest.main()
