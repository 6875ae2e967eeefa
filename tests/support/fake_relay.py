"""An SMTP server that does as it is told: for faults that a real server will not produce.

A behaviour is a function (session, event, argument) -> reply lines or None for the usual. Events:
connect, ehlo, mail, rcpt, data, line (of content), chunk, dot (a whole content, also by BDAT),
other. Session.drop() closes at once.
"""
import re
import socket
import threading
import time

from wire import Dropped, Wire


class Session:
    def __init__(self, relay, wire):
        self.relay, self.wire = relay, wire
        self.n_messages = 0
        self.commands = []
        self.broken = False  # a chunk was refused: RSET comes first (RFC 3030, 2)
        self.reset()

    @property
    def sock(self):
        return self.wire.sock

    def reset(self):
        self.sender, self.recipients, self.chunks = None, [], []

    def send(self, text):
        self.wire.send(text.encode())

    def drop(self):
        raise Dropped

    def ask(self, event, argument, usual):
        reply = self.relay.behaviour(self, event, argument)
        self.send(usual if reply is None else reply)
        return usual if reply is None else reply

    def run(self):
        self.relay.opened(self)
        self.ask("connect", "", "220 fake ESMTP\r\n")
        while raw := self.wire.line():
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            self.commands.append(line)
            verb = line.split(" ")[0].upper()
            if verb == "QUIT":
                self.ask("quit", line, "221 bye\r\n")
                self.wire.flush()
                return
            getattr(self, "on_" + verb.lower(), self.on_other)(line)

    def on_ehlo(self, line):
        self.ask("ehlo", line, self.relay.offer(self))

    on_helo = on_ehlo

    def on_starttls(self, line):
        usual = "220 go\r\n" if self.relay.offers_tls(self) else "502 5.5.1 no\r\n"
        if self.ask("other", line, usual) == "220 go\r\n":
            self.wire.flush()
            self.relay.start_tls(self)

    def on_mail(self, line):
        usual = "503 5.5.1 RSET first\r\n" if self.broken else "250 2.1.0 Ok\r\n"
        if self.ask("mail", line, usual).startswith("2"):
            self.sender, self.recipients = re.search("<(.*?)>", line)[1], []

    def on_rcpt(self, line):
        address = re.search("<(.*?)>", line)[1]
        usual = "250 2.1.5 Ok\r\n" if self.sender is not None else "503 5.5.1 MAIL first\r\n"
        if self.ask("rcpt", address, usual).startswith("2"):
            self.recipients.append(address)

    def on_data(self, line):
        usual = "354 go\r\n" if self.recipients else "554 5.5.1 no valid recipients\r\n"
        if self.ask("data", "", usual).startswith("354"):
            self.take(self.content())
            self.reset()

    def on_bdat(self, line):
        size, *last = line.split(" ")[1:]
        self.chunks.append(self.wire.octets(int(size)))
        content = b"".join(self.chunks)
        if not self.recipients:
            reply = self.ask("chunk", line, "554 5.5.1 no valid recipients\r\n")
        elif last:
            reply = self.take(content)
        else:
            self.ask("chunk", line, "250 2.0.0 Ok\r\n")
            return
        self.broken = not reply.startswith("2")
        self.reset()

    def on_rset(self, line):
        self.broken = False
        self.reset()
        self.on_other(line)

    def on_other(self, line):
        self.ask("other", line, "250 2.0.0 Ok\r\n")

    def content(self):
        lines = []
        while (raw := self.wire.line()) != b".\r\n":
            if not raw:
                raise Dropped
            assert raw.endswith(b"\r\n"), raw
            self.relay.behaviour(self, "line", raw)
            lines.append(raw[1:] if raw.startswith(b".") else raw)
        return b"".join(lines)

    def take(self, content):
        message = (self.sender, tuple(self.recipients), content)
        self.n_messages += 1
        with self.relay.lock:
            self.relay.arrived.append(message)  # whatever the reply: the server has it
        reply = self.ask("dot", content, "250 2.0.0 Ok: queued\r\n")
        if reply.startswith("2"):
            with self.relay.lock:
                self.relay.messages.append(message)
        return reply


def usual(session, event, argument):
    return None


def ehlo_reply(words):
    return "".join(f"250{'-' if i + 1 < len(words) else ' '}{w}\r\n" for i, w in enumerate(words))


class FakeRelay:
    """`cuts` are those of the next connections, in order (see Wire); the others are whole. `buffers`
    is the room for octets each way, the system's choice if not given. `listener`: one of
    ports.bound_socket(), where nobody has answered so far."""

    def __init__(self, behaviour=usual, extensions=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
                 port=0, gathers=False, buffers=None, host="127.0.0.1", listener=None):
        self.behaviour, self.extensions, self.gathers = behaviour, extensions, gathers
        self.cuts = []
        self.messages, self.arrived, self.sessions = [], [], []
        self.lock = threading.Lock()
        self.listener = listener or socket.create_server((host, port))
        if buffers is not None:  # its connections inherit it
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        self.listener.listen(64)
        self.host, self.port = self.listener.getsockname()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    # What a relay with TLS does otherwise.

    def opened(self, session):
        pass

    def offer(self, session):
        return ehlo_reply(["fake", *self.extensions])

    def offers_tls(self, session):
        return False

    def start_tls(self, session):
        raise NotImplementedError

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            cut = self.cuts.pop(0) if self.cuts else (None, None)
            session = Session(self, Wire(sock, cut, self.gathers))
            with self.lock:
                self.sessions.append(session)
            threading.Thread(target=self.run_session, args=(session,), daemon=True).start()

    def run_session(self, session):
        try:
            session.run()
        except (Dropped, OSError, ValueError):
            pass
        finally:
            session.wire.close()

    def wait_for(self, n, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.messages) < n:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.messages)} of {n} messages came")
            time.sleep(0.02)

    def settings(self, **more):
        return {"name": "fake", "host": self.host, "port": self.port, "tls": "none", **more}

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        except OSError:
            pass
        self.listener.close()
        self.thread.join(5)
        self.hang_up()

    def hang_up(self):
        with self.lock:
            sessions = list(self.sessions)
        for session in sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
