"""The queue under several threads at once: support/queue_stress.c says what must come out."""
import os
import subprocess
import tempfile
import unittest

PROGRAM = os.path.join(os.path.dirname(os.environ["POSTERN"]), "queue_stress")


class QueueStress(unittest.TestCase):
    def run_with(self, store, n):
        done = subprocess.run([PROGRAM, store, str(n)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-2000:])

    def test_in_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            self.run_with(f"sqlite:{folder}/queue.db", 1500)

    def test_in_memory(self):
        self.run_with("memory:", 1500)


if __name__ == "__main__":
    unittest.main()
