"""The servers that receive: smtp-sink, and the real Postfix of tests/peers."""
import os
import shutil
import socket
import subprocess
import tempfile
import time

from ports import hold_block, hold_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(ROOT, "tests", "bench", "peers")
SCRIPTS = os.path.join(ROOT, "tests", "peers")


def wait_for_port(port, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Sink:
    def __enter__(self):
        self.port = hold_port()
        self.process = subprocess.Popen(
            ["smtp-sink", "-u", "root", "-m", "1000", f"127.0.0.1:{self.port}", "1000"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        wait_for_port(self.port)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Postfix:
    """The listener that discards what it accepts, with STARTTLS offered."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="pf", dir="/tmp")
        self.base = hold_block()
        self.env = {**os.environ, "PEERS_PORT_BASE": str(self.base)}
        self.script("certs.sh", self.dir)
        self.script("postfix.sh", "start", self.dir)
        self.discard_with_tls()
        self.ca = f"{self.dir}/certs/ca.pem"
        self.port = self.base + 27
        return self

    def __exit__(self, *_):
        self.script("postfix.sh", "stop", self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)

    def discard_with_tls(self):
        """Port 27 discards, but has no TLS of its own: that is added."""
        etc = f"{self.dir}/postfix/etc"
        with open(f"{etc}/master.cf", encoding="utf-8") as f:
            lines = [line.rstrip("\n") + (" -o smtpd_tls_security_level=may"
                                          if f":{self.base + 27} " in line else "")
                     for line in f]
        with open(f"{etc}/master.cf", "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        subprocess.run(["/usr/sbin/postfix", "-c", etc, "reload"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def script(self, name, *args):
        with open(os.path.join(self.dir, "peers.log"), "a", encoding="utf-8") as log:
            subprocess.run([os.path.join(SCRIPTS, name), *args], env=self.env, check=True,
                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Link:
    """A way of so many ms there and back in front of a server: the delay proxy of the peers."""

    def __init__(self, target, rtt_ms):
        self.target, self.rtt_ms = target, rtt_ms

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="dp", dir="/tmp")
        self.port = hold_port()
        self.script("start", self.dir, str(self.rtt_ms),
                    f"127.0.0.1:{self.port}=127.0.0.1:{self.target}")
        return self

    def __exit__(self, *_):
        self.script("stop", self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)

    def script(self, *args):
        with open(os.path.join(self.dir, "peers.log"), "a", encoding="utf-8") as log:
            subprocess.run([os.path.join(SCRIPTS, "delay-proxy.sh"), *args], check=True,
                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
