"""One connection of a server under our control: octets counted, and cut off where a test says."""
import socket
import time

FLIGHT_GAP_S = 0.02  # what comes within it belongs to one flight


class Dropped(Exception):
    pass


class Wire:
    """`cut` is (octets read, octets written) after which the connection breaks; None: never.

    With `gathers` it answers as RFC 2920, 3.2 has servers do: replies wait until the input has run
    dry, and each time that happens is counted. A flight of commands is then one round trip, however
    the network cuts it.
    """

    def __init__(self, sock, cut=(None, None), gathers=False):
        self.sock, self.gathers = sock, gathers
        self.left_in, self.left_out = cut
        self.n_in = self.n_out = self.n_dry = 0
        self.unread = self.unsent = b""

    def receive(self):
        if self.left_in == 0:
            raise Dropped
        data = self.sock.recv(65536 if self.left_in is None else min(65536, self.left_in))
        self.n_in += len(data)
        if self.left_in is not None:
            self.left_in -= len(data)
        return data

    def rest_of_flight(self):
        time.sleep(FLIGHT_GAP_S)
        self.sock.setblocking(False)
        try:
            while self.left_in != 0 and (data := self.receive()):
                self.unread += data
        except BlockingIOError:
            pass
        finally:
            self.sock.setblocking(True)

    def fill(self):
        """False at the end of the input."""
        self.flush()
        data = self.receive()
        self.unread += data
        if data and self.gathers:
            self.n_dry += 1
            self.rest_of_flight()
        return bool(data)

    def line(self):
        """With its end; b"" at the end of the input."""
        while b"\n" not in self.unread:
            if not self.fill():
                return b""
        line, _, self.unread = self.unread.partition(b"\n")
        return line + b"\n"

    def octets(self, n):
        while len(self.unread) < n:
            if not self.fill():
                raise Dropped
        data, self.unread = self.unread[:n], self.unread[n:]
        return data

    def send(self, data):
        self.unsent += data
        if not self.gathers:
            self.flush()

    def flush(self):
        data, self.unsent = self.unsent[:self.left_out], b""
        if data:
            self.sock.sendall(data)
            self.n_out += len(data)
        if self.left_out is not None:
            self.left_out -= len(data)
            if self.left_out == 0:
                raise Dropped

    def start_tls(self, context):
        assert not self.unread, "octets before the handshake"
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # of TLS too: no close_notify
        except OSError:
            pass
        self.sock.close()
