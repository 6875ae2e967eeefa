"""Jobs side by side, each in processes of its own.

A job has a keeper between itself and us: whatever the job started becomes the keeper's child when
its parent ends (it is their subreaper), daemons too. So the keeper sees what is left behind when the
job is done, and can end a job that hangs with all that belongs to it.
"""
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LEAVE_S = 20  # for processes that have been told to end


class Job:
    """`run` is called in a process of its own and returns {"passed": n, "failed": n, ...}."""

    def __init__(self, name, run, guess_s=120.0):
        self.name, self.run, self.guess_s = name, run, guess_s
        self.took_s, self.result, self.output = 0.0, None, ""

    @property
    def is_good(self):
        return self.result["failed"] == 0


def output_of(command, folder):
    """Exit status and all that it printed."""
    done = subprocess.run(command, cwd=folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, errors="replace", check=False)
    return done.returncode, done.stdout


# --- the job's own process, and its keeper -----------------------------------------------------

def perform(job, path):
    """Writes the result to `path`."""
    try:
        result = job.run()
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        result = {"passed": 0, "failed": 1}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(result, f)


def children():
    """Of this process, those that have not ended: {pid: command}."""
    found = {}
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as f:
        for pid in map(int, f.read().split()):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                    state = stat.read().rpartition(")")[2].split()[0]
                with open(f"/proc/{pid}/cmdline", "rb") as line:
                    command = line.read().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if state not in "ZX":
                found[pid] = command
    return found


def reap(wanted=None):
    """Of all children that have ended; whether `wanted` was one of them."""
    seen = False
    try:
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            seen = seen or pid == wanted
    except ChildProcessError:
        pass
    return seen


def wait_for_child(until):
    signal.sigtimedwait({signal.SIGCHLD}, max(0.0, min(until - time.monotonic(), 1.0)))


def wait_until_alone(seconds):
    """False when there are still children after that time."""
    until = time.monotonic() + seconds
    while True:
        reap()
        if not children():
            return True
        if time.monotonic() >= until:
            return False
        wait_for_child(until)


def end_children():
    """Also those that become ours because their parents end."""
    while not wait_until_alone(0):
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until_alone(0.1)


def keep(job, path, timeout_s):
    """Until the job and all that it started has ended. Prints what went wrong."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)  # nothing runs on without us
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        perform(job, path)
        sys.stdout.flush()
        os._exit(0)  # no thread of the job's keeps it
    until = time.monotonic() + timeout_s
    while not reap(pid):
        if time.monotonic() >= until:
            print(f"hangs: ended after {timeout_s} s", flush=True)
            end_children()
            return False
        wait_for_child(until)
    if wait_until_alone(LEAVE_S):
        return True
    for pid, command in children().items():
        print(f"left behind: {pid} {command}", flush=True)
    end_children()
    return False


def start(job, folder, timeout_s):
    """The keeper's pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid != 0:
        return pid
    out = os.open(os.path.join(folder, "output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, copy in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(fd, copy)
    os.close(out)
    os.close(nothing)
    try:
        is_good = keep(job, os.path.join(folder, "result"), timeout_s)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        end_children()
        is_good = False
    sys.stdout.flush()
    os._exit(0 if is_good else 1)


# --- all of them -------------------------------------------------------------------------------

def finish(job, folder, status):
    with open(os.path.join(folder, "output"), encoding="utf-8", errors="replace") as f:
        job.output = f.read()
    try:
        with open(os.path.join(folder, "result"), encoding="utf-8") as f:
            job.result = json.load(f)
    except (OSError, ValueError):
        job.result = {"passed": 0, "failed": 0}
        status = status or 1
    if status != 0:
        job.result["failed"] += 1


def run_all(jobs, n_at_once, timeout_s, report):
    """In the order given. `report` is called with each when it is done."""
    waiting, running = list(jobs), {}
    with tempfile.TemporaryDirectory(prefix="jobs") as top:
        while waiting or running:
            while waiting and len(running) < n_at_once:
                job = waiting.pop(0)
                folder = tempfile.mkdtemp(dir=top)
                pid = start(job, folder, timeout_s)
                running[os.pidfd_open(pid)] = (pid, job, folder, time.monotonic())
            for fd in select.select(list(running), [], [])[0]:
                pid, job, folder, begun = running.pop(fd)
                os.close(fd)
                job.took_s = time.monotonic() - begun
                finish(job, folder, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                report(job)
