"""Real proxies on ports of their own: microsocks for SOCKS5, tinyproxy for HTTP CONNECT."""
import os
import shutil
import socket
import subprocess
import tempfile
import time

from ports import hold_port


class Proxy:
    """`with` starts it and ends it; `url` is what a relay's `proxy` says."""

    scheme = None

    def __init__(self, user=None, password=None):
        self.port = hold_port()
        self.user, self.password = user, password
        self.dir = tempfile.mkdtemp(prefix="proxy")
        login = f"{user}:{password}@" if user else ""
        self.url = f"{self.scheme}://{login}127.0.0.1:{self.port}"

    def command(self):
        raise NotImplementedError

    def wait_until_it_listens(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def __enter__(self):
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.wait_until_it_listens()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Microsocks(Proxy):
    scheme = "socks5"

    def command(self):
        login = ["-u", self.user, "-P", self.password] if self.user else []
        return ["microsocks", "-i", "127.0.0.1", "-p", str(self.port), *login]


class Tinyproxy(Proxy):
    """`allowed`: the one port it connects to; by default any."""

    scheme = "http"

    def __init__(self, user=None, password=None, allowed=None):
        super().__init__(user, password)
        self.allowed = allowed

    def command(self):
        path = os.path.join(self.dir, "tinyproxy.conf")
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 20",
                 f'LogFile "{self.dir}/log"']
        if self.user:
            lines.append(f"BasicAuth {self.user} {self.password}")
        if self.allowed:
            lines.append(f"ConnectPort {self.allowed}")
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        return ["tinyproxy", "-d", "-c", path]
