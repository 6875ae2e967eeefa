"""The real servers of tests/peers, on ports that nobody else has. Starting them takes long, so they run
from the first class of a process that wants them to the process's end; classes that want the same ones
are run in one process (tests/run.py)."""
import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

from ports import hold_block

SCRIPTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers")
MODULES = os.path.join(os.path.dirname(os.path.dirname(SCRIPTS)), "build", "peers")


def node_modules():
    """What the OAuth2 server is made of, installed once for each version of its list."""
    source = os.path.join(SCRIPTS, "oidc")
    with open(os.path.join(source, "package-lock.json"), "rb") as f:
        folder = os.path.join(MODULES, hashlib.sha256(f.read()).hexdigest()[:16])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, "done")):
            for name in ("package.json", "package-lock.json"):
                shutil.copy(os.path.join(source, name), folder)
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"],
                           cwd=folder, check=True, stdin=subprocess.DEVNULL)
            open(os.path.join(folder, "done"), "w", encoding="ascii").close()
    return os.path.join(folder, "node_modules")


class World:
    """A folder and a block of ports with some of the servers."""
    _running = {}

    def __init__(self, scripts):
        self.scripts, self.started = scripts, []
        self.dir = tempfile.mkdtemp(prefix="lg")
        self.base = hold_block()
        self.env = {**os.environ, "PEERS_PORT_BASE": str(self.base)}
        if "oidc.sh" in scripts:
            self.env["PEERS_NODE_MODULES"] = node_modules()
        atexit.register(self.stop)
        self.run("certs.sh", self.dir)
        for script in scripts:
            self.started.append(script)
            self.run(script, "start", self.dir)

    @classmethod
    def of(cls, scripts):
        if scripts not in cls._running:
            cls._running[scripts] = cls(scripts)
        return cls._running[scripts]

    def stop(self):
        for script in reversed(self.started):
            self.run(script, "stop", self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, script, *args):
        # Into a file: the servers it leaves running would keep a pipe open.
        with open(os.path.join(self.dir, "peers.log"), "w+", encoding="utf-8") as log:
            done = subprocess.run([os.path.join(SCRIPTS, script), *args], env=self.env,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if done.returncode != 0:
                log.seek(0)
                raise RuntimeError(f"{script}: {log.read()}")


class Peers(unittest.TestCase):
    """`scripts` of the peers run while the class's tests do."""
    scripts = ()

    @classmethod
    def setUpClass(cls):
        world = World.of(cls.scripts)
        cls.dir, cls.base, cls.env = world.dir, world.base, world.env
