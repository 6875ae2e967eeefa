"""The real servers of ../shared/peers, on ports that nobody has, for as long as a test class runs."""
import os
import shutil
import subprocess
import tempfile
import unittest

from ports import free_base

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "peers")


class Peers(unittest.TestCase):
    """`scripts` of the shared peers run while the class's tests do."""
    scripts = ()

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="lg", dir="/tmp")
        cls.base = free_base()
        cls.env = {**os.environ, "PEERS_PORT_BASE": str(cls.base)}
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.peer("certs.sh", cls.dir)
        for script in cls.scripts:
            cls.addClassCleanup(cls.peer, script, "stop", cls.dir)
            cls.peer(script, "start", cls.dir)

    @classmethod
    def peer(cls, script, *args):
        # Into a file: the servers it leaves running would keep a pipe open.
        with open(os.path.join(cls.dir, "peers.log"), "w+", encoding="utf-8") as log:
            done = subprocess.run([os.path.join(PEERS, script), *args], env=cls.env,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if done.returncode != 0:
                log.seek(0)
                raise RuntimeError(f"{script}: {log.read()}")
