#!/usr/bin/env python3
"""cover.py BUILD: line coverage of the product's files after a test run, least covered first."""
import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile


def read_counts(build):
    """{file: {line: count}}, summed over every object that was compiled with it."""
    notes = sorted(os.path.abspath(p) for p in glob.glob(f"{build}/**/*.gcno", recursive=True)
                   if "/tests/" not in p)
    root, counts = os.getcwd() + "/", {}
    with tempfile.TemporaryDirectory() as scratch:
        for i, note in enumerate(notes):
            folder = os.path.join(scratch, str(i))
            os.mkdir(folder)
            subprocess.run(["gcov", "--json-format", note], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for path in glob.glob(folder + "/*.gz"):
                with gzip.open(path) as f:
                    report = json.load(f)
                for file in report["files"]:
                    name = os.path.normpath(file["file"]).removeprefix(root)
                    if name.startswith(("service/", "api/", "cli/")):
                        lines = counts.setdefault(name, {})
                        for line in file["lines"]:
                            number = line["line_number"]
                            lines[number] = lines.get(number, 0) + line["count"]
    return counts


def main():
    counts = read_counts(sys.argv[1])
    rows = sorted((sum(1 for n in lines.values() if n) / len(lines), len(lines), name)
                  for name, lines in counts.items() if lines)
    for share, n, name in rows:
        print(f"{share:6.1%} of {n:5} lines  {name}")
    total = sum(n for _, n, _ in rows)
    print(f"{sum(share * n for share, n, _ in rows) / total:6.1%} of {total:5} lines")


if __name__ == "__main__":
    main()
