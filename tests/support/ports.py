"""Ports that nobody has."""
import socket

# Of the shared peers: Postfix's, the OAuth2 server's, Dovecot's own, and those with NTLM.
PEER_OFFSETS = [*range(24, 33), 400, 443, 465, 466, 665, 687, *range(587, 596), 725, 727, 728]


def free_base():
    """A base for the peers' ports with none of them taken."""
    for base in range(20000, 32000, 1000):
        try:
            for offset in PEER_OFFSETS:
                with socket.socket() as s:
                    s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")
