"""Ports that nobody else has, and keeps.

What binds for itself asks for port 0 and says what it got. A server whose port must stand in a
configuration file gets one of a block, which this process holds for as long as it lives: blocks lie
outside of the range that the system gives ports from, and whoever wants one binds its first port.
"""
import socket

BLOCK = 1000
_held = []  # sockets, for as long as the process lives


def _blocks():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        low, high = map(int, f.read().split())
    for base in range(10000, 64000, BLOCK):
        if base + BLOCK <= low or base > high:
            yield base


def _is_free(base):
    """Nobody listens in it, were it a server of the machine's own."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        taken = {int(line.split()[1].split(":")[1], 16) for line in list(f)[1:]
                 if line.split()[3] == "0A"}
    return not any(base < port < base + BLOCK for port in taken)


def hold_block():
    """The first port of a block of 1000: the others are the caller's."""
    for base in _blocks():
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", base))
        except OSError:
            claim.close()
            continue
        if _is_free(base):
            _held.append(claim)
            return base
        claim.close()
    raise RuntimeError("no block of ports is free")


class _Block:
    base = next = None


def hold_port():
    """One of a block that this process holds."""
    if _Block.next is None or _Block.next == _Block.base + BLOCK:
        _Block.base = hold_block()
        _Block.next = _Block.base + 1
    _Block.next += 1
    return _Block.next - 1


def nobodys_port():
    """One that refuses every connection: bound, but nobody listens."""
    return bound_socket().getsockname()[1]


def bound_socket():
    """Refuses connections until somebody calls listen() on it; then it is a server's."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    _held.append(s)
    return s
