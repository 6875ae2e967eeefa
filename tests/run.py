#!/usr/bin/env python3
"""Runs the suites named on the command line and closes with one line: "N passed, N failed".

unit: the Criterion binary. acceptance, integration: the unittest files of those folders. Their tests
mostly wait, so more of them run side by side than there are cores, those that took longest first.
Each is a job of its own (support/job.py). Sanitizers write to log files, because Criterion passes a
test whose process leaked: any such file is a failure.
"""
import argparse
import collections
import glob
import json
import os
import re
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

import job  # noqa: E402

TIMEOUT_S = 600  # of a job, so that one that hangs has a name
LONGEST = 10  # that are listed
# Without times of an earlier run: what starts servers takes longest.
GUESS_S = {True: 60.0, False: 3.0}


def sanitize(build):
    log = os.path.join(ROOT, build, "sanitizer")
    for old in glob.glob(log + ".*"):
        os.remove(old)
    os.environ["ASAN_OPTIONS"] = f"log_path={log}:detect_leaks=1"
    os.environ["UBSAN_OPTIONS"] = f"log_path={log}:print_stacktrace=1"
    os.environ["TSAN_OPTIONS"] = (
        f"log_path={log}:suppressions={ROOT}/tests/support/tsan.supp:history_size=4")
    return log


# --- what there is to do -----------------------------------------------------------------------

def unit_job(build):
    binary = os.path.join(ROOT, build, "unit-tests")

    def run():
        status, text = job.output_of([binary, "--jobs", str(2 * (os.cpu_count() or 1))], ROOT)
        print("\n".join(line for line in text.splitlines() if "Synthesis" not in line))
        counts = re.search(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)",
                           re.sub(r"\x1b\[[0-9;]*m", "", text))
        if counts is None:
            return {"passed": 0, "failed": 1}
        passed, failed = int(counts[2]), int(counts[1]) - int(counts[2])
        return {"passed": passed, "failed": failed or int(status != 0)}

    return job.Job("unit", run)


class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def run_tests(tests):
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(
        unittest.TestSuite(tests))
    return {"passed": result.passed,
            "failed": len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses),
            "skipped": [f"{test.id()}: {why}" for test, why in result.skipped]}


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def is_whole(kind):
    """Its tests share what setUpClass made."""
    return kind.setUpClass.__func__ is not unittest.TestCase.setUpClass.__func__


def python_jobs(folder, pattern):
    """A class whose tests share nothing is as many jobs as it has tests."""
    path = os.path.join(ROOT, "tests", folder)
    classes = collections.defaultdict(list)
    for test in flat(unittest.TestLoader().discover(path, pattern, path)):
        classes[type(test)].append(test)
    for kind, tests in classes.items():
        if is_whole(kind):
            name = f"{folder} {kind.__module__}.{kind.__qualname__}"
            yield job.Job(name, lambda tests=tests: run_tests(tests), GUESS_S[True])
        else:
            for test in tests:
                yield job.Job(f"{folder} {test.id()}", lambda test=test: run_tests([test]),
                              GUESS_S[False])


# --- how long each takes -----------------------------------------------------------------------

def remembered(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def remember(path, jobs):
    times = {**remembered(path), **{j.name: round(j.took_s, 2) for j in jobs}}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(times, f, indent=0, sort_keys=True)


def report(one):
    print(f"{'ok  ' if one.is_good else 'FAIL'} {one.took_s:6.1f} s  {one.name}", flush=True)
    for skipped in one.result.get("skipped", []):
        print(f"     skipped  {skipped}")
    if not one.is_good:
        print(one.output.rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/debug")
    parser.add_argument("--pattern", default="test_*.py")
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 1),
                        help="how many side by side")
    parser.add_argument("suites", nargs="+", choices=["unit", "acceptance", "integration"])
    args = parser.parse_args()
    os.environ["POSTERN"] = os.path.join(ROOT, args.build, "postern")
    os.environ["POSTERN_COMPOSE"] = os.path.join(ROOT, args.build, "compose")
    log = sanitize(args.build)
    begun = time.monotonic()

    jobs = []
    for suite in args.suites:
        jobs += [unit_job(args.build)] if suite == "unit" else python_jobs(suite, args.pattern)
    times_path = os.path.join(ROOT, args.build, "test-times.json")
    times = remembered(times_path)
    jobs.sort(key=lambda j: -times.get(j.name, j.guess_s))
    job.run_all(jobs, args.jobs, TIMEOUT_S, report)
    remember(times_path, jobs)

    passed = sum(j.result["passed"] for j in jobs)
    failed = sum(j.result["failed"] for j in jobs)
    for path in glob.glob(log + ".*"):
        failed += 1
        with open(path, errors="replace") as f:
            print(f"--- {path}\n{f.read()[:6000]}")
    print("the longest:")
    for one in sorted(jobs, key=lambda j: -j.took_s)[:LONGEST]:
        print(f"{one.took_s:8.1f} s  {one.name}")
    bad = [j.name for j in jobs if not j.is_good]
    print("".join(f"failed: {name}\n" for name in bad), end="")
    used = os.times()
    print(f"in {time.monotonic() - begun:.0f} s, of the processors "
          f"{used.children_user + used.children_system:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
