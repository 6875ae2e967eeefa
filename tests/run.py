#!/usr/bin/env python3
"""Runs the suites named on the command line and closes with one line: "N passed, N failed".

unit: the Criterion binary. acceptance, integration: the unittest classes of those folders. Most of
what they do is wait, so many run side by side, each class in a process of its own, the longest
first. What one says is shown in one piece when it has ended. It counts as a failure, too, if a class
leaves a process or a file behind or does not end, and if a sanitizer wrote a report: Criterion
passes a test whose process leaked.
"""
import argparse
import atexit
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNIT, PYTHON = "unit", ("acceptance", "integration")
HANGS_S = 900  # no class takes that long, however loaded the machine
MARK = "POSTERN_TEST_CLASS"  # in the environment of all that a class starts


# --- a job, in a process of its own ---------------------------------------------------------------

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


def run_classes(names, report):
    """A skipped test has not passed: none is."""
    suite = unittest.defaultTestLoader.loadTestsFromNames(names.split(","))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    with open(report, "w", encoding="utf-8") as f:
        json.dump({"passed": result.passed, "failed": failed, "seconds": result.seconds}, f)


class Job:
    """It is forked from here, where the tests are loaded already."""

    def __init__(self, name, build):
        self.name, self.begun = name, time.monotonic()
        self.scratch = tempfile.mkdtemp(prefix="pt")
        os.chmod(self.scratch, 0o755)  # servers that drop their rights pass through it
        self.report = self.scratch + ".json"
        self.out = tempfile.TemporaryFile("w+", errors="replace")
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self.perform(build)

    def perform(self, build):
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for fd in (1, 2):
                os.dup2(self.out.fileno(), fd)
            os.environ.update({MARK: self.scratch, "TMPDIR": self.scratch})
            tempfile.tempdir = None
            random.seed()
            if self.name == UNIT:
                binary = os.path.join(ROOT, build, "unit-tests")
                os.chdir(ROOT)
                os.execv(binary, [binary, "--jobs", "10"])
            run_classes(self.name, self.report)
            atexit._run_exitfuncs()  # of this process there is no other end
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(status)

    def took(self):
        return time.monotonic() - self.begun

    def text(self):
        with self.out:
            self.out.seek(0)
            return self.out.read()


# --- what there is to run -----------------------------------------------------------------------

def add_paths(*folders):
    sys.path[:0] = [os.path.join(ROOT, "tests", folder) for folder in (*folders, "support")]


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


# --- running them -------------------------------------------------------------------------------

class Runner:
    def __init__(self, build, n_jobs):
        self.build, self.n_jobs = build, n_jobs
        self.jobs = {}
        self.passed = self.failed = 0
        self.failures, self.seconds, self.job_seconds = [], {}, {}

    def run(self, names):
        names = list(names)
        try:
            while names or self.jobs:
                while names and len(self.jobs) < self.n_jobs:
                    job = Job(names.pop(0), self.build)
                    self.jobs[job.pid] = job
                self.wait()
        finally:
            for job in self.jobs.values():  # who ends us ends them
                end_marked(job.scratch)
                shutil.rmtree(job.scratch, ignore_errors=True)

    def wait(self):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in self.jobs:
            self.take(self.jobs.pop(pid), os.waitstatus_to_exitcode(status), [])
            return
        time.sleep(0.02)
        for job in list(self.jobs.values()):
            if job.took() > HANGS_S:
                os.killpg(job.pid, signal.SIGKILL)
                os.waitpid(job.pid, 0)
                del self.jobs[job.pid]
                self.take(job, 0, [f"it had not ended after {HANGS_S} s"])

    def take(self, job, status, troubles):
        text, took = job.text(), job.took()
        passed, failed, seconds = (count_unit if job.name == UNIT else read_report)(text, job.report)
        if status != 0 and failed == 0:
            troubles.append(f"its process ended with {status}")
        troubles += left_processes(job.scratch) + left_files(job.scratch)
        failed += len(troubles)
        self.passed, self.failed = self.passed + passed, self.failed + failed
        self.job_seconds[job.name] = round(took, 1)
        self.seconds.update(seconds)
        print(f"--- {job.name}: {passed} passed, {failed} failed in {took:.1f} s")
        if failed:
            self.failures.append(job.name)
            print(text.rstrip())
        for trouble in troubles:
            print(f"{job.name}: {trouble}")
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


def end_marked(scratch):
    for pid in marked_processes(scratch):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


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
    os.environ["LSAN_OPTIONS"] = f"suppressions={ROOT}/tests/support/lsan.supp:print_suppressions=0"
    os.environ["UBSAN_OPTIONS"] = f"log_path={log}:print_stacktrace=1"
    os.environ["TSAN_OPTIONS"] = (
        f"log_path={log}:suppressions={ROOT}/tests/support/tsan.supp:history_size=4")
    return log


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/debug")
    parser.add_argument("--pattern", default="test_*.py")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("TEST_JOBS", "12")))
    parser.add_argument("suites", nargs="+", choices=[UNIT, *PYTHON])
    args = parser.parse_args()
    os.environ["POSTERN"] = os.path.join(ROOT, args.build, "postern")
    os.environ["POSTERN_COMPOSE"] = os.path.join(ROOT, args.build, "compose")
    log = sanitize(args.build)
    begun = time.monotonic()
    jobs = find_jobs([suite for suite in args.suites if suite != UNIT], args.pattern)
    jobs += [UNIT] if UNIT in args.suites else []
    kept = os.path.join(ROOT, args.build, "test-seconds.json")
    times = load_times(os.path.join(ROOT, "tests", "seconds.json"), kept)
    jobs.sort(key=lambda job: -times.get(job, 5))
    runner = Runner(args.build, args.jobs)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runner.run(jobs)
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
