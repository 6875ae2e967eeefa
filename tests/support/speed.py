"""A clock that runs faster, for a gateway whose schedules, pauses and limits a test has to wait for.

libfaketime scales what the process reads of both clocks and how long it waits. What its peers do
takes the time it takes, so a timeout against them shrinks too: a test gives room for that. The
wall clock begins anew with each process: a restart goes back in time. Sanitizers must come before
any other library: there, the clock is the machine's own.
"""
import glob
import os

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
SANITIZED = ("asan", "tsan")


def environment(postern, times):
    if times == 1 or os.path.basename(os.path.dirname(postern)) in SANITIZED:
        return {}
    found = glob.glob(LIBRARY)
    if not found:
        raise RuntimeError("libfaketime is missing: make deps-test")
    return {"LD_PRELOAD": found[0], "FAKETIME": f"+0 x{times}", "FAKETIME_DONT_RESET": "1"}
