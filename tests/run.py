#!/usr/bin/env python3
"""Runs the suites named on the command line and closes with one line: "N passed, N failed".

unit: the Criterion binary. acceptance, integration: the unittest files of those folders. Sanitizers
write to log files, because Criterion passes a test whose process leaked: any such file is a failure.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def sanitize(build):
    log = os.path.join(ROOT, build, "sanitizer")
    for old in glob.glob(log + ".*"):
        os.remove(old)
    os.environ["ASAN_OPTIONS"] = f"log_path={log}:detect_leaks=1"
    os.environ["UBSAN_OPTIONS"] = f"log_path={log}:print_stacktrace=1"
    os.environ["TSAN_OPTIONS"] = (
        f"log_path={log}:suppressions={ROOT}/tests/support/tsan.supp:history_size=4")
    return log


def run_unit(build):
    binary = os.path.join(ROOT, build, "unit-tests")
    done = subprocess.run([binary, "--jobs", "2"], cwd=ROOT, stderr=subprocess.STDOUT,
                          stdout=subprocess.PIPE, text=True, errors="replace")
    shown = [line for line in done.stdout.splitlines() if "Synthesis" not in line]
    print("\n".join(shown))
    counts = re.search(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)",
                       re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))
    if counts is None:
        return 0, 1
    passed, failed = int(counts[2]), int(counts[1]) - int(counts[2])
    return passed, failed or (done.returncode != 0)


class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def run_python(folder, pattern):
    suite = unittest.TestLoader().discover(os.path.join(ROOT, "tests", folder), pattern)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    return result.passed, len(result.failures) + len(result.errors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/debug")
    parser.add_argument("--pattern", default="test_*.py")
    parser.add_argument("suites", nargs="+", choices=["unit", "acceptance", "integration"])
    args = parser.parse_args()
    os.environ["POSTERN"] = os.path.join(ROOT, args.build, "postern")
    os.environ["POSTERN_COMPOSE"] = os.path.join(ROOT, args.build, "compose")
    sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
    log = sanitize(args.build)
    begun = time.monotonic()
    passed = failed = 0
    for suite in args.suites:
        good, bad = run_unit(args.build) if suite == "unit" else run_python(suite, args.pattern)
        passed, failed = passed + good, failed + bad
    for path in glob.glob(log + ".*"):
        failed += 1
        with open(path, errors="replace") as f:
            print(f"--- {path}\n{f.read()[:6000]}")
    print(f"in {time.monotonic() - begun:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
