"""An SMTP server that does as it is told: for faults that a real server will not produce.

A behaviour is a function (session, event, argument) -> reply lines or None for the usual. Events:
connect, ehlo, mail, rcpt, data, line (of content), dot. Session.drop() closes at once.
"""
import re
import socket
import threading
import time


class Dropped(Exception):
    pass


class Session:
    def __init__(self, relay, sock):
        self.relay, self.sock = relay, sock
        self.file = sock.makefile("rb")
        self.n_messages = 0
        self.commands = []

    def send(self, text):
        self.sock.sendall(text.encode())

    def drop(self):
        raise Dropped

    def ask(self, event, argument, usual):
        reply = self.relay.behaviour(self, event, argument)
        self.send(usual if reply is None else reply)
        return usual if reply is None else reply

    def run(self):
        self.ask("connect", "", "220 fake ESMTP\r\n")
        self.sender, self.recipients = None, []
        for raw in self.file:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            self.commands.append(line)
            verb = line[:4].upper()
            if verb in ("EHLO", "HELO"):
                self.ask("ehlo", line, self.relay.ehlo)
            elif verb == "MAIL":
                if self.ask("mail", line, "250 2.1.0 Ok\r\n").startswith("2"):
                    self.sender, self.recipients = re.search("<(.*?)>", line)[1], []
            elif verb == "RCPT":
                address = re.search("<(.*?)>", line)[1]
                usual = "250 2.1.5 Ok\r\n" if self.sender is not None else "503 5.5.1 MAIL first\r\n"
                if self.ask("rcpt", address, usual).startswith("2"):
                    self.recipients.append(address)
            elif verb == "DATA":
                usual = "354 go\r\n" if self.recipients else "554 5.5.1 no valid recipients\r\n"
                if self.ask("data", "", usual).startswith("354"):
                    self.content()
            elif verb == "QUIT":
                self.send("221 bye\r\n")
                return
            else:
                self.ask("other", line, "250 2.0.0 Ok\r\n")

    def content(self):
        lines = []
        for raw in self.file:
            if raw == b".\r\n":
                break
            assert raw.endswith(b"\r\n"), raw
            self.relay.behaviour(self, "line", raw)
            lines.append(raw[1:] if raw.startswith(b".") else raw)
        else:
            raise Dropped
        content = b"".join(lines)
        message = (self.sender, tuple(self.recipients), content)
        self.n_messages += 1
        with self.relay.lock:
            self.relay.arrived.append(message)  # whatever the reply: the server has it
        if self.ask("dot", content, "250 2.0.0 Ok: queued\r\n").startswith("2"):
            with self.relay.lock:
                self.relay.messages.append(message)


def usual(session, event, argument):
    return None


class FakeRelay:
    def __init__(self, behaviour=usual, extensions=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
                 port=0):
        self.behaviour = behaviour
        words = ["fake"] + list(extensions)
        self.ehlo = "".join(f"250{'-' if i + 1 < len(words) else ' '}{w}\r\n"
                            for i, w in enumerate(words))
        self.messages, self.arrived, self.sessions = [], [], []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.closing = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, sock)
            with self.lock:
                self.sessions.append(session)
            threading.Thread(target=self.run_session, args=(session,), daemon=True).start()

    def run_session(self, session):
        try:
            session.run()
        except (Dropped, OSError, ValueError):
            pass
        finally:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            session.sock.close()

    def wait_for(self, n, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.messages) < n:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.messages)} of {n} messages came")
            time.sleep(0.02)

    def settings(self, **more):
        return {"name": "fake", "host": "127.0.0.1", "port": self.port, "tls": "none", **more}

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        except OSError:
            pass
        self.listener.close()
        self.thread.join(5)
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
