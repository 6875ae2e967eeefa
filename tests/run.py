#!/usr/bin/env python3
"""Runs the suites named on the command line and closes with one line: "N passed, N failed".

unit: the Criterion binary. acceptance, integration: the unittest classes of those folders. Most of
what they do is wait, so many run side by side, each class in a process of its own, the longest
first. What one says is shown in one piece when it has ended. It counts as a failure, too, if a class
leaves a process or a file behind or does not end, and if a sanitizer wrote a report: Criterion
passes a test whose process leaked.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNIT, PYTHON = "unit", ("acceptance", "integration")
HANGS_S = 900  # no class takes that long, however loaded the machine
MARK = "POSTERN_TEST_CLASS"  # in the environment of all that a class starts


# --- one class, in a process of its own ---------------------------------------------------------

class Result(unittest.TextTestResult):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.passed, self.seconds = 0, {}

    def startTest(self, test):
        self.begun = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        self.seconds[test.id()] = time.monotonic() - self.begun
        super().stopTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def add_paths(*folders):
    sys.path[:0] = [os.path.join(ROOT, "tests", folder) for folder in (*folders, "support")]


def run_classes(names, report):
    """A skipped test has not passed: none is."""
    add_paths(*PYTHON)
    suite = unittest.defaultTestLoader.loadTestsFromNames(names.split(","))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    with open(report, "w", encoding="utf-8") as f:
        json.dump({"passed": result.passed, "failed": failed, "seconds": result.seconds}, f)


# --- what there is to run -----------------------------------------------------------------------

def all_tests(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from all_tests(item)
        else:
            yield item


def find_jobs(folders, pattern):
    """The names of the classes that have tests, one a job; those that want the same servers are one
    job, so that these are started once."""
    add_paths(*PYTHON)
    jobs = {}
    for folder in folders:
        for test in all_tests(unittest.TestLoader().discover(
                os.path.join(ROOT, "tests", folder), pattern, os.path.join(ROOT, "tests", folder))):
            cls = type(test)
            name = f"{cls.__module__}.{cls.__qualname__}"
            jobs.setdefault(getattr(cls, "scripts", name), {})[name] = True
    return [",".join(names) for names in jobs.values()]


def load_times(*paths):
    times = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8") as f:
                times.update(json.load(f))
        except (OSError, ValueError):
            pass
    return times


# --- running it ---------------------------------------------------------------------------------

class Runner:
    def __init__(self, build):
        self.build = build
        self.lock = threading.Lock()
        self.passed = self.failed = 0
        self.failures, self.seconds, self.job_seconds = [], {}, {}

    def command(self, job, report):
        if job == UNIT:
            return [os.path.join(ROOT, self.build, "unit-tests"), "--jobs", "4"]
        return [sys.executable, os.path.abspath(__file__), "--build", self.build, "--classes", job,
                report]

    def run(self, job):
        scratch = tempfile.mkdtemp(prefix="pt")
        os.chmod(scratch, 0o755)  # servers that drop their rights pass through it
        env = {**os.environ, MARK: scratch, "TMPDIR": scratch}
        report, begun = scratch + ".json", time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as out:
            process = subprocess.Popen(self.command(job, report), cwd=ROOT, env=env,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       start_new_session=True)
            try:
                process.wait(HANGS_S)
                hung = []
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                hung = [f"it had not ended after {HANGS_S} s"]
            out.seek(0)
            text = out.read()
        troubles = hung + left_processes(scratch) + left_files(scratch)
        self.take(job, process.returncode, text, report, troubles, time.monotonic() - begun)

    def take(self, job, status, text, report, troubles, took):
        passed, failed, seconds = (count_unit if job == UNIT else read_report)(text, report)
        if status != 0 and failed == 0:
            troubles.append(f"its process ended with {status}")
        failed += len(troubles)
        with self.lock:
            self.passed, self.failed = self.passed + passed, self.failed + failed
            self.job_seconds[job] = round(took, 1)
            self.seconds.update(seconds)
            print(f"--- {job}: {passed} passed, {failed} failed in {took:.1f} s")
            if failed:
                self.failures.append(job)
                print(text.rstrip())
            for trouble in troubles:
                print(f"{job}: {trouble}")
            sys.stdout.flush()


def count_unit(text, _report):
    counts = re.search(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)",
                       re.sub(r"\x1b\[[0-9;]*m", "", text))
    if counts is None:
        return 0, 1, {}
    return int(counts[2]), int(counts[1]) - int(counts[2]), {}


def read_report(_text, report):
    try:
        with open(report, encoding="utf-8") as f:
            done = json.load(f)
        os.remove(report)
    except (OSError, ValueError):
        return 0, 1, {}
    return done["passed"], done["failed"], done["seconds"]


def marked_processes(scratch):
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as f:
                marked = f"{MARK}={scratch}".encode() in f.read().split(b"\0")
            with open(os.path.dirname(path) + "/stat", "rb") as f:
                zombie = f.read().rsplit(b")", 1)[1].split()[0] == b"Z"
        except OSError:
            continue
        if marked and not zombie:
            yield int(path.split("/")[2])


def left_processes(scratch):
    """They have a while to be gone: who was told to end may be ending."""
    deadline = time.monotonic() + 20
    while (left := list(marked_processes(scratch))) and time.monotonic() < deadline:
        time.sleep(0.1)
    troubles = []
    for pid in left:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                command = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
            os.kill(pid, signal.SIGKILL)
            troubles.append(f"a process was left behind: {command}")
        except OSError:
            pass
    return troubles


def left_files(scratch):
    left = os.listdir(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    return [f"files were left behind: {' '.join(sorted(left))}"] if left else []


# --- all ----------------------------------------------------------------------------------------

def sanitize(build):
    log = os.path.join(ROOT, build, "sanitizer")
    for old in glob.glob(log + ".*"):
        os.remove(old)
    os.environ["ASAN_OPTIONS"] = f"log_path={log}:detect_leaks=1"
    os.environ["UBSAN_OPTIONS"] = f"log_path={log}:print_stacktrace=1"
    os.environ["TSAN_OPTIONS"] = (
        f"log_path={log}:suppressions={ROOT}/tests/support/tsan.supp:history_size=4")
    return log


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/debug")
    parser.add_argument("--pattern", default="test_*.py")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("TEST_JOBS", "8")))
    parser.add_argument("--classes", nargs=2, metavar=("NAMES", "REPORT"))
    parser.add_argument("suites", nargs="*", choices=[UNIT, *PYTHON, []])
    args = parser.parse_args()
    os.environ["POSTERN"] = os.path.join(ROOT, args.build, "postern")
    os.environ["POSTERN_COMPOSE"] = os.path.join(ROOT, args.build, "compose")
    if args.classes is not None:
        run_classes(*args.classes)
        return 0
    log = sanitize(args.build)
    begun = time.monotonic()
    jobs = find_jobs([suite for suite in args.suites if suite != UNIT], args.pattern)
    jobs += [UNIT] if UNIT in args.suites else []
    kept = os.path.join(ROOT, args.build, "test-seconds.json")
    times = load_times(os.path.join(ROOT, "tests", "seconds.json"), kept)
    jobs.sort(key=lambda job: -times.get(job, 5))
    runner = Runner(args.build)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for done in [pool.submit(runner.run, job) for job in jobs]:
            done.result()
    with open(kept, "w", encoding="utf-8") as f:
        json.dump({**times, **runner.job_seconds}, f, indent=0, sort_keys=True)
    for path in glob.glob(log + ".*"):
        runner.failed += 1
        with open(path, errors="replace") as f:
            print(f"--- {path}\n{f.read()[:6000]}")
    print("the longest: " + ", ".join(
        f"{name} {took:.0f} s" for name, took in
        sorted(runner.seconds.items(), key=lambda item: -item[1])[:10]))
    for name in runner.failures:
        print(f"FAILED: {name}")
    print(f"in {time.monotonic() - begun:.0f} s")
    print(f"{runner.passed} passed, {runner.failed} failed")
    return 1 if runner.failed or not runner.passed else 0


if __name__ == "__main__":
    sys.exit(main())
