#!/usr/bin/env python3
"""The longest functions, and how long functions are: to look at, not to obey."""
import re
import statistics
import sys

lengths = []
for path in sys.argv[1:]:
    name, begun = "?", 0
    with open(path) as f:
        for number, line in enumerate(f, 1):
            if match := re.match(r"[A-Za-z_].*?\b(\w+)\(", line):
                name = match[1]
            if line.startswith("{"):
                begun = number
            elif line.startswith("}") and begun:
                lengths.append((number - begun - 1, name, f"{path}:{begun}"))
                begun = 0
lengths.sort(reverse=True)
for length, name, where in lengths[:10]:
    print(f"{length:5} {name:32} {where}")
lines = sorted(length for length, _, _ in lengths)
print(f"{len(lines)} functions; median {statistics.median(lines):.0f} lines, "
      f"90th percentile {lines[len(lines) * 9 // 10]}, over 60: {sum(n > 60 for n in lines)}")
