"""What a message costs under load, in requests for memory and in calls of the kernel: counted, so
that it is the same on a machine of any speed."""
import os
import re
import socket
import struct
import subprocess
import tempfile
import unittest

from gateway import POSTERN, Gateway, wait_until
from ports import hold_port

HERE = os.path.dirname(os.path.abspath(__file__))
SHIM = os.path.join(HERE, "..", "support", "preload", "count_calls.c")

N_CLIENTS = 32
N_ROUNDS = 40
MEMORY_MAX = 75
CALLS_MAX = 22


def call_names():
    with open(SHIM) as f:
        listed = re.search(r"#define CALLS\(X\)(.*?)\n\n", f.read(), re.S)[1]
    return re.findall(r"X\((\w+)\)", listed)


class Counts:
    """What the shim counts: {thread: {call: n}}, at any moment."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="counts")
        self.names = call_names()
        shim = os.path.join(os.path.dirname(os.path.abspath(POSTERN)), "count_calls.so")
        self.env = {"LD_PRELOAD": shim, "COUNTS": self.file.name}

    def read(self):
        threads = {}
        row = struct.Struct(f"16s{len(self.names)}Q")
        with open(self.file.name, "rb") as f:
            for name, *counts in row.iter_unpack(f.read()):
                thread = threads.setdefault(name.split(b"\0")[0].decode(), [0] * len(counts))
                threads[name.split(b"\0")[0].decode()] = [a + b for a, b in zip(thread, counts)]
        return {thread: dict(zip(self.names, counts)) for thread, counts in threads.items()}

    def since(self, before):
        return {thread: {call: n - before.get(thread, {}).get(call, 0) for call, n in counts.items()}
                for thread, counts in self.read().items()}


class Sink:
    """smtp-sink, of Postfix."""

    def __enter__(self):
        self.port = hold_port()
        self.process = subprocess.Popen(
            ["smtp-sink", "-u", "root", f"127.0.0.1:{self.port}", "1000"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Clients:
    """Each on a connection of its own; all ask, and then all wait for their answers."""
    BODY = b'{"from":"Alice <alice@example.com>","to":["bob@example.net"],"subject":"Shipped",' \
           b'"text":"' + b"Hello Bob, your order is on its way. " * 100 + b'"}'
    REQUEST = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
              b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

    def __init__(self, port, n):
        self.sockets = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(n)]

    def post(self):
        for s in self.sockets:
            s.sendall(self.REQUEST)
        for s in self.sockets:
            head = b""
            while b"\r\n\r\n" not in head:
                some = s.recv(4096)
                if some == b"":
                    raise AssertionError("the gateway hung up")
                head += some
            if not head.startswith(b"HTTP/1.1 202 "):
                raise AssertionError(head)

    def close(self):
        for s in self.sockets:
            s.close()


def metric(gateway, name):
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", gateway.get("/metrics").body.decode(), re.M)
    return sum(float(value) for value in found)


def n_sent(gateway):
    found = re.findall(r'^postern_recipients_total\{[^}]*outcome="sent"[^}]*\} (\d+)$',
                       gateway.get("/metrics").body.decode(), re.M)
    return sum(map(int, found))


def table(counts, n):
    calls = [call for call in call_names() if any(c[call] / n >= 0.005 for c in counts.values())]
    lines = ["".join(f"{word:>12}" for word in ["a message", *calls])]
    for thread, row in sorted(counts.items()):
        lines.append(f"{thread:>12}" + "".join(f"{row[call] / n:>12.2f}" for call in calls))
    lines.append(f"{'all':>12}" + "".join(
        f"{sum(row[call] for row in counts.values()) / n:>12.2f}" for call in calls))
    return "\n".join(lines)


class Cost(unittest.TestCase):
    def measure(self, gateway, counts, clients):
        """{thread: {call: n}}, the number of messages, and that of commits."""
        sent, commits = n_sent(gateway), metric(gateway, "postern_store_batch_size_count")
        before, n = counts.read(), N_CLIENTS * N_ROUNDS
        for _ in range(N_ROUNDS):
            clients.post()
        wait_until(lambda: n_sent(gateway) == sent + n)
        return (counts.since(before), n,
                metric(gateway, "postern_store_batch_size_count") - commits)

    def test_a_message(self):
        counts = Counts()
        with Sink() as sink, Gateway({"relays": [
                {"name": "sink", "host": "127.0.0.1", "port": sink.port, "tls": "none"}]},
                env=counts.env) as gateway:
            clients = Clients(gateway.port, N_CLIENTS)
            self.addCleanup(clients.close)
            self.measure(gateway, counts, clients)  # connections, buffers, statements
            spent, n, n_commits = self.measure(gateway, counts, clients)
        shown = f"{n} messages in {n_commits:.0f} commits\n{table(spent, n)}"
        if os.environ.get("COST_SHOWN"):
            print(shown)
        memory = sum(row["memory"] for row in spent.values()) / n
        calls = sum(sum(row.values()) - row["memory"] for row in spent.values()) / n
        print(f"{memory:.1f} requests for memory, {calls:.1f} calls")
        self.assertLessEqual(memory, MEMORY_MAX, shown)
        self.assertLessEqual(calls, CALLS_MAX, shown)


if __name__ == "__main__":
    unittest.main()
