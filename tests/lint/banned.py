#!/usr/bin/env python3
"""Calls we do without: unbounded, not reentrant, silent about overflow, or a way out of the process."""
import re
import sys

# stpcpy stays: it packs strings into a block that was measured for them.
BANNED = {
    "strcpy": "memcpy with a checked length", "strcat": "struct buffer", "strncat": "struct buffer",
    "strncpy": "snprintf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "gets": "getline", "strtok": "strcspn", "atoi": "strtol",
    "atol": "strtol", "atoll": "strtoll", "atof": "strtod", "sscanf": "strtol and friends",
    "alloca": "an arena", "strdupa": "an arena", "rand": "getrandom", "random": "getrandom",
    "system": "nothing", "popen": "nothing", "tmpnam": "mkstemp", "mktemp": "mkstemp",
    "gmtime": "gmtime_r", "localtime": "localtime_r", "ctime": "strftime", "asctime": "strftime",
    "inet_ntoa": "inet_ntop", "gethostbyname": "getaddrinfo", "usleep": "a timer",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.S)


def main(paths):
    bad = 0
    for path in paths:
        with open(path) as f:
            # blanked, not removed: line numbers stay
            text = COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), f.read())
        for number, line in enumerate(text.split("\n"), 1):
            for match in CALL.finditer(line):
                print(f"{path}:{number}: {match[1]}: use {BANNED[match[1]]}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
