"""The token cache under many threads at once: support/oauth_stress.c says what must come out."""
import os
import subprocess
import unittest

PROGRAM = os.path.join(os.path.dirname(os.environ["POSTERN"]), "oauth_stress")


class OauthStress(unittest.TestCase):
    def test_a_storm_of_expiries(self):
        done = subprocess.run([PROGRAM, "4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=550, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-2000:])
        self.assertIn("64 at once: 1 request\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
