#!/usr/bin/env python3
"""Includes point one way: base <- config, message, net <- store <- queue <- smtp, oauth (vault <- tokens
<- login) <- relay <- verify, notify, sandbox <- admit <- engine <- api <- cli.

Within a level folders may know each other, but never in a circle; within a folder modules (a .c and
its .h) may, but never in a circle either. Some libraries belong to one folder, or to one module of
it, so that the rest of the tree does not depend on them.
"""
import collections
import glob
import os
import re
import sys

LEVELS = [["base"], ["config", "message", "mail", "net"], ["store"], ["queue"],
          ["smtp", "oauth/vault"], ["oauth/tokens"], ["oauth/login"], ["relay"],
          ["verify", "notify", "sandbox"], ["admit"], ["engine", "run"], ["api"], ["cli"]]
LEVEL = {folder: level for level, folders in enumerate(LEVELS) for folder in folders}
LIBRARIES = {"microhttpd.h": {"api"}, "sqlite3.h": {"queue", "store"}, "yaml.h": {"config"},
             "gsasl.h": {"smtp"}, "curl/curl.h": {"net", "cli"},
             "uv.h": {"net", "smtp", "oauth/tokens", "oauth/login", "relay", "verify", "notify",
                      "sandbox"},
             "openssl/ssl.h": {"net", "smtp", "sandbox", "config/pem"}, "syslog.h": set()}

# Folders whose modules are in circles still. None may be added.
STILL = {"base", "config", "queue"}


def folder_of(path):
    parts = path.split("/")
    if parts[0] == "service" and "/".join(parts[1:3]) in LEVEL:
        return "/".join(parts[1:3])
    if parts[0] == "service":
        return parts[1] if len(parts) > 2 else "engine"
    return parts[0]


def find_circle(graph):
    clear = set()  # whatever can be come to from here was looked at

    def follow(node, trail):
        if node in trail:
            return trail[trail.index(node):] + [node]
        if node in clear:
            return None
        for after in sorted(graph[node]):
            circle = follow(after, trail + [node])
            if circle:
                return circle
        clear.add(node)
        return None
    for start in sorted(graph):
        circle = follow(start, [])
        if circle:
            return circle
    return None


def module_of(path):
    return re.sub(r"^service/|\.[ch]$", "", path)


def main():
    faults = []
    graph = collections.defaultdict(set)  # of folders
    within = collections.defaultdict(lambda: collections.defaultdict(set))  # folder: of its modules
    files = sorted(f for top in ("service", "api", "cli")
                   for f in glob.glob(f"{top}/**/*.[ch]", recursive=True))
    for path in files:
        own = folder_of(path)
        if own not in LEVEL:
            faults.append(f"{path}: folder {own} has no level in {os.path.relpath(__file__)}")
            continue
        with open(path) as f:
            lines = f.readlines()
        for number, line in enumerate(lines, 1):
            if match := re.match(r'#include "(.*)"', line):
                name = match[1]
                target = name if os.path.exists(name) else os.path.join("service", name)
                if not os.path.exists(target):
                    faults.append(f"{path}:{number}: no such file below an include root: {name}")
                    continue
                other = folder_of(target)
                if LEVEL.get(other, 99) > LEVEL[own]:
                    faults.append(f"{path}:{number}: {own} must not know {other}")
                elif other != own:
                    graph[own].add(other)
                elif module_of(target) != module_of(path) and own not in STILL:
                    within[own][module_of(path)].add(module_of(target))
            elif match := re.match(r"#include <(.*)>", line):
                allowed = LIBRARIES.get(match[1])
                if allowed is not None and not allowed & {own, module_of(path)}:
                    faults.append(f"{path}:{number}: {match[1]} is for {', '.join(sorted(allowed)) or 'nobody'}")
        if path.endswith(".c") and os.path.exists(path[:-1] + "h"):
            own_header = re.sub(r"^service/", "", path[:-1] + "h")
            first = next((line for line in lines if line.startswith("#include")), "")
            if first.strip() != f'#include "{own_header}"':
                faults.append(f"{path}: its own header comes first")
    for nodes in [graph, *within.values()]:
        if circle := find_circle(nodes):
            faults.append("a circle: " + " -> ".join(circle))
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
