"""The HTTP API as a client sees it."""
import json
import socket
import subprocess
import threading
import time
import unittest

from fake_relay import FakeRelay
from gateway import POSTERN, Gateway, wait_until

MESSAGE = {"from": "Alice Example <alice@example.com>", "to": ["bob@example.net"], "subject": "Hi",
           "text": "It works.\n"}


def raw(port, data, seconds=5):
    """Everything the server says to these octets until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        s.sendall(data)
        got = b""
        try:
            while chunk := s.recv(65536):
                got += chunk
                if got.count(b"HTTP/1.1") and b"Connection: close" not in got:
                    s.settimeout(0.3)
        except OSError:
            pass
        return got


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway()

    @classmethod
    def tearDownClass(cls):
        cls.gateway.close()

    def test_first_message(self):
        answer = self.gateway.post(MESSAGE)
        self.assertEqual(answer.status, 202)
        record = answer.json()
        self.assertEqual(answer.headers["Location"], f"/v1/messages/{record['id']}")
        self.assertEqual(record["status"], "queued")
        record = self.gateway.wait_for(record["id"])
        self.assertEqual(record["status"], "sent")
        self.assertEqual(record["recipients"][0]["reply"]["code"], 250)
        self.assertEqual([e["type"] for e in record["events"]], ["message.queued", "message.sent"])
        seen = self.gateway.get("/v1/sandbox/messages").json()["data"]
        mine = [m for m in seen if m["subject"] == "Hi"][0]
        self.assertEqual(mine["text"], "It works.\r\n")
        full = self.gateway.get(f"/v1/sandbox/messages/{mine['id']}").json()
        self.assertIn(["Message-ID", record["message_id"]], full["headers"])
        answer = self.gateway.get(f"/v1/sandbox/messages/{mine['id']}/raw")
        self.assertEqual(answer.headers["Content-Type"], "message/rfc822")
        self.assertIn(b"\r\n\r\nIt works.\r\n", answer.body)

    def test_prefer_wait(self):
        answer = self.gateway.post(MESSAGE, {"Prefer": "wait=10"})
        self.assertEqual((answer.status, answer.json()["status"]), (200, "sent"))
        self.assertEqual(answer.headers["Preference-Applied"], "wait")
        answer = self.gateway.post({**MESSAGE, "to": "bounce@sandbox.test"}, {"Prefer": "wait=10"})
        self.assertEqual(answer.status, 502)
        self.assertEqual(answer.json()["type"], "/problems/rejected-by-relay")
        self.assertEqual(answer.json()["recipients"][0]["reply"]["code"], 550)
        answer = self.gateway.post({**MESSAGE, "to": "slow@sandbox.test"}, {"Prefer": "wait=1"})
        self.assertEqual(answer.status, 202)

    def test_idempotency(self):
        key = {"Idempotency-Key": "order-1"}
        first = self.gateway.post({**MESSAGE, "subject": "once"}, key)
        again = self.gateway.post(json.dumps({"subject": "once", **{k: v for k, v in MESSAGE.items()
                                                                     if k != "subject"}}), key)
        self.assertEqual((first.status, again.status), (202, 202))
        self.assertEqual(first.body, again.body)
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        other = self.gateway.post({**MESSAGE, "subject": "twice"}, key)
        self.assertEqual((other.status, other.json()["type"]),
                         (422, "/problems/idempotency-mismatch"))
        self.gateway.wait_for(first.json()["id"])
        seen = self.gateway.get("/v1/sandbox/messages").json()["data"]
        self.assertEqual(len([m for m in seen if m["subject"] == "once"]), 1)
        for bad in ("", "x" * 256, "ö"):
            self.assertEqual(self.gateway.request(
                "POST", "/v1/messages", json.dumps(MESSAGE),
                {"Content-Type": "application/json", "Idempotency-Key": bad.encode()}).status, 400)
        refused = self.gateway.post({**MESSAGE, "to": 5}, {"Idempotency-Key": "order-2"})
        self.assertEqual(refused.status, 422)
        self.assertEqual(self.gateway.post(MESSAGE, {"Idempotency-Key": "order-2"}).status, 202)

    def test_idempotency_while_waiting(self):
        go, answers = threading.Event(), []

        def held(session, event, argument):
            if event == "dot":
                go.wait(120)

        key = {"Idempotency-Key": "slow-1", "Prefer": "wait=300"}
        with FakeRelay(held) as relay, Gateway({"relays": [relay.settings()]}) as g:
            thread = threading.Thread(target=lambda: answers.append(g.post(MESSAGE, key)))
            thread.start()
            wait_until(lambda: relay.arrived, 60)
            self.assertEqual(g.post(MESSAGE, key).status, 409)
            go.set()
            thread.join()
            self.assertEqual(answers[0].status, 200)
            wait_until(lambda: g.post(MESSAGE, key).status != 409, 60)
            again = g.post(MESSAGE, key)
            self.assertEqual((again.status, again.body), (200, answers[0].body))

    def test_every_fault_at_once(self):
        cases = [
            ({"to": 5}, {"/from", "/to"}),
            ({**MESSAGE, "bbc": "x", "subject": {}}, {"/bbc", "/subject"}),
            ({**MESSAGE, "to": [None, "a@b", "x"]}, {"/to/0", "/to/2"}),
            ({**MESSAGE, "subject": "a\r\nBcc: x@y"}, {"/subject"}),
            ({**MESSAGE, "subject": "a\u2028b"}, {"/subject"}),
            ({**MESSAGE, "headers": {"Bcc": "x", "X A": "y", "X-B": "a\nb", "Content-Type": "t"}},
             {"/headers/Bcc", "/headers/X A", "/headers/X-B", "/headers/Content-Type"}),
            ({**MESSAGE, "attachments": [{"content": "!!!"}, {"content": "QQ=="}]},
             {"/attachments/0/content"}),
            ({**MESSAGE, "attachments": [{"content": "QQ==", "filename": "a\r\nb"},
                                         {"content": "QQ==", "content_type": "x"}]},
             {"/attachments/0/filename"}),
            ({**MESSAGE, "to": ["x> SIZE=1 NOTIFY=NEVER"]}, {"/to/0"}),
            ({**MESSAGE, "to": ['"a"@evil.com"@good.com']}, {"/to/0"}),
            ({**MESSAGE, "to": ["a@b, c@d", "G:a@b;", "<@r:u@d>", "a(x)@b", "a@[127.0.0.1]",
                                "a" * 253 + "@b", "a@" + "b" * 64, "a@b..c", "a@b."]},
             {f"/to/{i}" for i in range(9)}),
            ({**MESSAGE, "message_id": "<a b@c>"}, {"/message_id"}),
            ({**MESSAGE, "raw": "x", "template": "y"}, {"/raw", "/template"}),
            ({"from": "a@b.c"}, {"/to"}),
            ({**MESSAGE, "tags": ["a\nb"], "metadata": {"a": 1}}, {"/tags/0", "/metadata/a"}),
        ]
        for message, pointers in cases:
            with self.subTest(message=str(message)[:70]):
                answer = self.gateway.post(message)
                self.assertEqual(answer.status, 422, answer.body)
                self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
                self.assertEqual({e["pointer"] for e in answer.json()["errors"]}, pointers)

    def test_malformed_json(self):
        for body, status in [(b"", 400), (b"{", 400), (b"5", 400), (b"[]", 400), (b'{"a":1} x', 400),
                             (b"\xef\xbb\xbf{}", 400), (b'{"to":1,"t\\u006f":2}', 400),
                             (b'{"a":NaN}', 400), (b"[" * 100000, 400), (b'{"a":' * 17, 400),
                             (b"[" + b"{}," * 500000 + b"{}]", 413), (b'{"a":1e999}', 400),
                             (b'{"' + b'":1,"'.join(b"%d" % i for i in range(200000)) + b'":1}', 413),
                             (b'{"a":"\xff"}', 400)]:
            with self.subTest(body=body[:20]):
                answer = self.gateway.post(body)
                self.assertEqual(answer.status, status, answer.body)
                self.assertNotIn(b"SECRET", answer.body)

    def test_methods_paths_types(self):
        g = self.gateway
        answer = g.request("PUT", "/v1/messages")
        self.assertEqual((answer.status, answer.headers["Allow"]), (405, "POST"))
        self.assertEqual(g.get("/nothing").status, 404)
        self.assertEqual(g.get("/v1/messages/../../metrics").status, 404)
        self.assertEqual(g.get("/v1/messages/%6dsg_x").status, 404)
        self.assertEqual(g.get("/v1/messages/msg_01ARZ3NDEKTSV4RRFFQ69G5FAV").status, 404)
        self.assertEqual(g.request("HEAD", "/livez").status, 200)
        for headers in ({}, {"Content-Type": "text/plain"},
                        {"Content-Type": "application/json; charset=latin1"},
                        {"Content-Type": "application/json", "Content-Encoding": "gzip"}):
            self.assertEqual(g.request("POST", "/v1/messages", "{}", headers).status, 415)
        self.assertEqual(g.get("/livez", {"X-Request-Id": "abc.1"}).headers["X-Request-Id"], "abc.1")
        self.assertNotEqual(g.get("/livez", {"X-Request-Id": "a b"}).headers["X-Request-Id"], "a b")
        self.assertEqual(g.get("/problems/in-progress-not").status, 404)
        self.assertEqual(g.get("/problems/rejected-by-relay").status, 200)
        self.assertIn(b"openapi: 3.1.0", g.get("/openapi.yaml").body)
        self.assertIn(b"postern_messages_accepted_total", g.get("/metrics").body)

    def test_smuggling(self):
        body = json.dumps(MESSAGE).encode()
        second = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        head = b"POST /v1/messages HTTP/1.1\r\nContent-Type: application/json\r\n"
        n = str(len(body)).encode()
        cases = {
            "both lengths": b"Host: x\r\nContent-Length: " + n + b"\r\nTransfer-Encoding: chunked\r\n",
            "two lengths": b"Host: x\r\nContent-Length: 5\r\nContent-Length: " + n + b"\r\n",
            "odd encoding": b"Host: x\r\nTransfer-Encoding: xchunked\r\n",
            "list": b"Host: x\r\nTransfer-Encoding: gzip, chunked\r\n",
            "space": b"Host: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n",
            "no host": b"Content-Length: " + n + b"\r\n",
            "two hosts": b"Host: x\r\nHost: y\r\nContent-Length: " + n + b"\r\n",
            "signed": b"Host: x\r\nContent-Length: +5\r\n",
        }
        for name, fields in cases.items():
            with self.subTest(name):
                got = raw(self.gateway.port, head + fields + b"\r\n" + body + second)
                self.assertTrue(got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), got[:80])
                self.assertNotIn(b" 200 OK", got)
                self.assertNotIn(b" 202 ", got)

    def test_limits(self):
        with Gateway({"http": {"max_body": "64KiB", "timeouts": {"header": "500ms", "body": "700ms"},
                               "max_connections": 20}}) as g:
            answer = g.post({**MESSAGE, "text": "x" * 70000})
            self.assertEqual(answer.status, 413)
            got = raw(g.port, b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
                              b"\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
            self.assertTrue(got.startswith(b"HTTP/1.1 413"), got[:60])
            chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
            got = raw(g.port, b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
                              b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n")
            self.assertTrue(got.startswith(b"HTTP/1.1 413"), got[:60])
            got = raw(g.port, b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 60000 + b"\r\n\r\n")
            self.assertTrue(got.startswith(b"HTTP/1.1 431"), got[:60])
            got = raw(g.port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(got.startswith(b"HTTP/1.1 414"), got[:60])
            for begin in (b"GET /livez HTTP/1.1\r\n",
                          b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
                          b"Content-Type: application/json\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", g.port)) as s:
                    s.sendall(begin)
                    deadline = time.monotonic() + 120
                    try:
                        while time.monotonic() < deadline:  # an octet at a time, for ever
                            s.sendall(b"a")
                            s.settimeout(0.05)
                            try:
                                if s.recv(4096) == b"":
                                    break
                            except TimeoutError:
                                pass
                    except OSError:
                        pass
                    self.assertLess(time.monotonic(), deadline, "it was never closed")
                    self.assertEqual(g.get("/livez").status, 200)

    def test_keys(self):
        keys = {}
        for name in ("sender", "reader", "boss"):
            out = subprocess.run([POSTERN, "key", name, "--json"], capture_output=True, check=True)
            keys[name] = json.loads(out.stdout)
        settings = {"api_keys": [
            {"name": "sender", "sha256": keys["sender"]["sha256"], "scopes": ["send"],
             "from": ["*@example.com"], "to": ["*@example.net", "ok@sandbox.test"]},
            {"name": "reader", "key": keys["reader"]["key"], "scopes": ["read"]},
            {"name": "boss", "key": keys["boss"]["key"], "scopes": ["admin"]}]}

        def bearer(name):
            return {"Authorization": "Bearer " + keys[name]["key"]}

        with Gateway(settings) as g:
            answer = g.post(MESSAGE)
            self.assertEqual(answer.status, 401)
            self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
            self.assertEqual(g.post(MESSAGE, {"Authorization": "Bearer nonsense"}).status, 401)
            answer = g.post(MESSAGE, bearer("sender"))
            self.assertEqual(answer.status, 202)
            path = answer.headers["Location"]
            self.assertEqual(g.get(path, bearer("sender")).status, 403)
            self.assertEqual(g.get(path, bearer("reader")).status, 200)
            self.assertEqual(g.get(path, bearer("boss")).status, 200)
            for change in ({"from": "x@other.com"}, {"sender": "x@other.com"}, {"to": "x@other.com"},
                           {"envelope": {"from": "x@other.com"}}, {"bcc": "x@other.com"}):
                self.assertEqual(g.post({**MESSAGE, **change}, bearer("sender")).status, 403, change)
            self.assertEqual(g.request("DELETE", "/v1/sandbox/messages",
                                       headers=bearer("reader")).status, 403)
            self.assertEqual(g.request("DELETE", "/v1/sandbox/messages",
                                       headers=bearer("boss")).status, 200)
            self.assertEqual(g.get("/livez").status, 200)
            log = g.log()
            for key in keys.values():
                self.assertNotIn(key["key"], log)


class Sandbox(unittest.TestCase):
    def test_steering(self):
        with Gateway({"queue": {"retry": ["100ms"]}}) as g:
            ids = {name: g.post({**MESSAGE, "to": f"{name}@sandbox.test"}).json()["id"]
                   for name in ("ok", "bounce", "defer", "drop", "slow")}
            statuses = {name: g.wait_for(id)["status"] for name, id in ids.items()}
            self.assertEqual(statuses, {"ok": "sent", "bounce": "failed", "defer": "sent",
                                        "drop": "sent", "slow": "sent"})
            self.assertEqual(g.record(ids["defer"])["recipients"][0]["attempts"], 3)
            drop = g.record(ids["drop"])
            self.assertIn("message.in_doubt", [e["type"] for e in drop["events"]])
            throttled = g.post({**MESSAGE, "to": "throttle@sandbox.test"}).json()["id"]
            g.wait_for_log("relay failure")
            self.assertEqual(g.record(throttled)["recipients"][0]["attempts"], 0)


class Memory(unittest.TestCase):
    def test_only_an_acceptance_is_a_200(self):
        with FakeRelay() as relay, Gateway({"queue": {"store": "memory:"},
                                            "relays": [relay.settings()]}) as g:
            answer = g.post(MESSAGE)
            self.assertEqual((answer.status, answer.json()["status"]), (200, "sent"))
            self.assertEqual(len(relay.messages), 1)

    def test_what_cannot_be_had_is_withdrawn(self):
        def later(session, event, argument):
            return "451 4.3.0 later\r\n" if event == "mail" else None
        with FakeRelay(later) as relay, Gateway({"queue": {"store": "memory:", "retry": ["100ms"]},
                                                 "relays": [relay.settings()]}) as g:
            answer = g.post(MESSAGE, {"Prefer": "wait=1"})
            self.assertEqual(answer.status, 504, answer.body)
            relay.behaviour = lambda *_: None
            self.assertEqual(g.post(MESSAGE, {"Prefer": "wait=60"}).status, 200)
            self.assertEqual(g.term(), 0)
            self.assertEqual(len(relay.arrived), 1)

    def test_relay_down(self):
        with FakeRelay() as relay, Gateway({"queue": {"store": "memory:"},
                                            "relays": [relay.settings()]}) as g:
            relay.close()
            self.assertEqual(g.post(MESSAGE, {"Prefer": "wait=1"}).status, 504)


if __name__ == "__main__":
    unittest.main()
