#!/usr/bin/env python3
"""The gateway beside what people use today, in turn in one run: absolute figures of a shared
machine mean little, the medians of the ratios do.

BENCH_MESSAGES (4000), BENCH_ROUNDS (5): less of both for a quick look. BENCH_ONLY: one of the
parts relays, distance, logins alone.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support")]
os.environ.setdefault("POSTERN", os.path.join(ROOT, "build", "release", "postern"))

import contenders  # noqa: E402
import distance  # noqa: E402
import footprint  # noqa: E402
import logins  # noqa: E402
import receivers  # noqa: E402
import report  # noqa: E402

N = int(os.environ.get("BENCH_MESSAGES", "4000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


def compare(title, makers, n):
    """One warm-up of each, then ROUNDS times each in turn."""
    running = [make() for make in makers]
    try:
        for contender in running:
            contender.run(max(100, n // 20))
        rates = {contender.name: [] for contender in running}
        for _ in range(ROUNDS):
            for contender in running:
                rates[contender.name].append(contender.run(contender.share(n)))
        report.table(title, rates)
        for contender in running:
            contender.remarks()
    finally:
        for contender in running:
            contender.close()


def main():
    parts = {"relays": side_by_side, "distance": lambda: distance.run(N, ROUNDS),
             "logins": logins.run}
    only = os.environ.get("BENCH_ONLY", "")
    for name, part in parts.items():
        if only in ("", name):
            part()


def side_by_side():
    footprint.idle()
    with receivers.Sink() as sink:
        compare(f"into smtp-sink, no TLS, 20 connections, {N} messages of 4 KB", [
            lambda: contenders.Postern("durable", sink.port),
            lambda: contenders.Postern("wait", sink.port, prefer="wait=30"),
            lambda: contenders.HandWritten(sink.port),
            lambda: contenders.SmtpSource(sink.port)], N)
    with receivers.Postfix() as postfix:
        compare(f"into Postfix with STARTTLS, 20 connections, {N // 4} messages of 4 KB", [
            lambda: contenders.Postern("durable", postfix.port, ca=postfix.ca),
            lambda: contenders.Postern("wait", postfix.port, prefer="wait=30", ca=postfix.ca),
            lambda: contenders.HandWritten(postfix.port, tls=True)], N // 4)


if __name__ == "__main__":
    main()
