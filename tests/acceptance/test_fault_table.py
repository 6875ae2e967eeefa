"""tests/conversations/README.md says where each fault is tested: so it must be."""
import glob
import os
import re
import unittest

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CONVERSATIONS = os.path.join(TESTS, "conversations")


def sources(pattern):
    text = ""
    for path in glob.glob(os.path.join(TESTS, pattern), recursive=True):
        with open(path, encoding="utf-8") as f:
            text += f.read()
    return text


class FaultTable(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(CONVERSATIONS, "README.md"), encoding="utf-8") as f:
            self.text = f.read()
        self.rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", self.text, re.M)

    def test_each_fault_has_a_test(self):
        self.assertEqual([int(number) for number, _ in self.rows], list(range(58, 94)))
        for number, shown_by in self.rows:
            self.assertIn("`", shown_by, number)

    def test_what_it_names_exists(self):
        python, c = sources("acceptance/*.py"), sources("unit/**/*.c")
        named = [n for _, shown_by in self.rows for n in re.findall("`(.*?)`", shown_by)]
        named += re.findall("`(.*?)`", self.text.split("|\n\n")[-1])
        for name in named:
            with self.subTest(name):
                if name.endswith(".txt"):
                    self.assertTrue(os.path.exists(os.path.join(CONVERSATIONS, name)))
                elif "/" in name:
                    self.assertIn(f"Test({name.replace('/', ', ')})", c)
                else:
                    self.assertIn(f"def {name}(", python)


if __name__ == "__main__":
    unittest.main()
