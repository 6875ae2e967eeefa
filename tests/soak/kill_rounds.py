#!/usr/bin/env python3
"""SIGKILL again and again under load: nothing accepted may be lost, and what arrives twice must have
been told as in doubt.

    python3 tests/soak/kill_rounds.py [--rounds 1000] [--build build/release] [--seed N]

Each round: the gateway carries mail over several connections into a receiver that counts, some
threads post, it dies at a random moment and is started again. At the end all that was answered 202
must have arrived, and every message that arrived more than once must have a message.in_doubt event.
"""
import argparse
import collections
import http.client
import json
import os
import random
import socketserver
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))


class Receiver(socketserver.ThreadingTCPServer):
    """As little SMTP as will do, with PIPELINING and CHUNKING. `got[n]` counts contents that came
    whole, `answered[n]` those for which a 250 was written."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, dice):
        self.dice, self.lock = dice, threading.Lock()
        self.got, self.answered = collections.Counter(), collections.Counter()
        super().__init__(("127.0.0.1", 0), Session)

    def handle_error(self, request, client_address):
        pass  # the other end died: that is what this is about


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text)

    def handle(self):
        chunking = self.server.dice.random() < 0.5
        self.say(b"220 count\r\n")
        chunks = []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say(b"250-count\r\n250-PIPELINING\r\n" +
                         (b"250-CHUNKING\r\n" if chunking else b"") + b"250 8BITMIME\r\n")
            elif verb == b"DATA":
                self.say(b"354 go\r\n")
                content = []
                while (part := self.rfile.readline()) != b".\r\n":
                    if not part:
                        return
                    content.append(part)
                self.take(b"".join(content))
            elif verb == b"BDAT":
                words = line.split()
                data = self.rfile.read(int(words[1]))
                if len(data) < int(words[1]):
                    return
                chunks.append(data)
                if len(words) > 2:
                    self.take(b"".join(chunks))
                    chunks = []
                else:
                    self.say(b"250 go on\r\n")
            elif verb == b"QUIT":
                self.say(b"221 bye\r\n")
                return
            else:
                self.say(b"250 ok\r\n")

    def take(self, content):
        at = content.index(b"Subject: ") + 9
        n = int(content[at:content.index(b"\r\n", at)])
        server = self.server
        with server.lock:
            server.got[n] += 1
        pause = server.dice.choice((0, 0, 0, 0.0005, 0.002, 0.01))
        if pause:
            time.sleep(pause)
        self.say(b"250 2.0.0 taken\r\n")
        with server.lock:
            server.answered[n] += 1


class Posters:
    """Each posts until it is told to stop; a request that broke is tried again with its key."""

    def __init__(self, gateway, n_threads):
        self.gateway, self.lock = gateway, threading.Lock()
        self.accepted, self.next, self.stop = {}, 0, False
        self.threads = [threading.Thread(target=self.run) for _ in range(n_threads)]

    def run(self):
        connection = None
        while not self.stop:
            with self.lock:
                n = self.next
                self.next += 1
            body = json.dumps({"from": "a@example.com", "to": [f"r{n}@example.net"],
                               "subject": str(n), "text": "x" * random.randrange(1, 20000)})
            while True:
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port,
                                                                timeout=30)
                    connection.request("POST", "/v1/messages", body,
                                       {"Content-Type": "application/json",
                                        "Idempotency-Key": f"key-{n}"})
                    answer = connection.getresponse()
                    said = answer.read()
                except (OSError, http.client.HTTPException):
                    connection = None
                    time.sleep(0.005)
                    continue
                if answer.status == 202:
                    with self.lock:
                        self.accepted[n] = json.loads(said)["id"]
                    break
                time.sleep(0.02)  # 503: not now


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=1000)
    arguments.add_argument("--build", default="build/release")
    arguments.add_argument("--posters", type=int, default=4)
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = arguments.parse_args()
    os.environ["POSTERN"] = os.path.join(args.build, "postern")
    from gateway import Gateway
    from ports import hold_port

    dice = random.Random(args.seed)
    print(f"seed {args.seed}", flush=True)
    receiver = Receiver(random.Random(args.seed + 1))
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    relay = {"name": "count", "host": "127.0.0.1", "port": receiver.server_address[1],
             "tls": "none", "connections": {"max": 6}}
    begun = time.monotonic()
    with Gateway({"relays": [relay], "queue": {"retry": ["1s"]}, "log": {"level": "warn"},
                  "listen": f"127.0.0.1:{hold_port()}"}) as gateway:
        posters = Posters(gateway, args.posters)
        for thread in posters.threads:
            thread.start()
        for round in range(1, args.rounds + 1):
            time.sleep(dice.choice((0.01, 0.05, 0.2, 0.5)) * dice.random())
            gateway.restart()
            if round % 50 == 0:
                print(f"{round} kills in {time.monotonic() - begun:.0f} s, "
                      f"{len(posters.accepted)} accepted", flush=True)
        posters.stop = True
        for thread in posters.threads:
            thread.join(120)
        deadline = time.monotonic() + 300
        while (time.monotonic() < deadline and
               any(receiver.answered[n] == 0 for n in list(posters.accepted))):
            time.sleep(0.2)
        got, accepted = receiver.got, posters.accepted
        lost = [n for n in accepted if got[n] == 0]
        doubles = [n for n in got if got[n] > 1]
        unasked = [n for n in got if n not in accepted]
        unfinished, untold, n_doubted = [], [], 0
        for n, id in accepted.items():
            record = gateway.wait_for(id, seconds=60)
            doubted = any(e["type"] == "message.in_doubt" for e in record["events"])
            n_doubted += doubted
            if record["status"] != "sent":
                unfinished.append(n)
            if got[n] > 1 and not doubted:
                untold.append(n)
        gateway.term()
    receiver.shutdown()
    print(f"{args.rounds} kills, {len(accepted)} accepted, {len(lost)} lost, {len(doubles)} arrived "
          f"twice, {n_doubted} told as in doubt, {len(untold)} twice and untold, "
          f"{len(unfinished)} not sent at the end, {len(unasked)} never accepted, "
          f"{time.monotonic() - begun:.0f} s")
    return 1 if lost or untold or unfinished or unasked else 0


if __name__ == "__main__":
    sys.exit(main())
