"""What goes wrong on the way in: refusals, odd headers, requests that cannot be read."""
import http.client
import json
import socket
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

MESSAGE = {"from": "a@example.com", "to": ["ok@sandbox.test"], "subject": "Hi", "text": "x"}
JSON = "Content-Type: application/json\r\n"
PATIENCE = 30


class Response:
    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = [(name.lower(), value) for name, value in
                       (line.split(": ", 1) for line in lines[1:])]

    def all(self, name):
        return [value for field, value in self.fields if field == name.lower()]


def talk(port, data):
    """Everything that is said to `data` until the gateway closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        s.sendall(data if isinstance(data, bytes) else data.encode())
        got = b""
        while chunk := s.recv(65536):
            got += chunk
        return got


class Header(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway()

    @classmethod
    def tearDownClass(cls):
        cls.gateway.close()

    def post(self, fields, message=None):
        """`fields` go out as they stand, blanks at their ends too."""
        body = json.dumps(message or MESSAGE)
        data = (f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}"
                f"Content-Length: {len(body)}\r\n\r\n{body}")
        return Response(talk(self.gateway.port, data))

    def test_blanks_behind_a_value_are_no_part_of_it(self):
        first = self.post(JSON + "Idempotency-Key: blanks\r\n")
        self.assertEqual(first.status, 202)
        for key in ("blanks ", "blanks\t", " \t blanks \t "):
            again = self.post(JSON + f"Idempotency-Key:{key if key[0] == ' ' else ' ' + key}\r\n")
            self.assertEqual(again.all("Idempotency-Replayed"), ["true"], repr(key))
            self.assertEqual(again.all("Location"), first.all("Location"))
        for field in ("Content-Type: application/json; charset=utf-8 \r\n",
                      "Content-Type: application/json\t\r\n", JSON + "X-Request-Id: mine \r\n"):
            self.assertEqual(self.post(field).status, 202, field)
        got = Response(talk(self.gateway.port,
                            "GET /livez HTTP/1.1\r\nHost: x \r\nConnection: close\r\n\r\n"))
        self.assertEqual(got.status, 200)

    def test_media_types_with_parameters(self):
        for parameters in ("; charset=utf8", "; charset=utf-8;", "; charset=utf-8; odata=verbose",
                           "; profile=x", '; profile="a;b"', "; CharSet = utf-8"):
            got = self.post(f"Content-Type: application/json{parameters}\r\n")
            self.assertEqual(got.status, 202, parameters)
        for type in ("application/json; charset=latin1", "application/jsonx", "text/json"):
            self.assertEqual(self.post(f"Content-Type: {type}\r\n").status, 415, type)

    def test_a_content_coding_is_answered_with_what_is_taken(self):
        self.assertEqual(self.post(JSON + "Content-Encoding: Identity\r\n").status, 202)
        for fields in ("Content-Encoding: gzip\r\n", "Content-Encoding: identity, br\r\n",
                       "Content-Encoding: identity\r\nContent-Encoding: deflate\r\n"):
            got = self.post(JSON + fields)
            self.assertEqual((got.status, got.all("Accept-Encoding")), (415, ["identity"]), fields)

    def test_what_is_given_once_is_given_once(self):
        for fields in ("Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
                       "Idempotency-Key: a\r\nidempotency-key: a\r\n",
                       "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", JSON):
            got = self.post(JSON + fields)
            self.assertEqual(got.status, 400, fields)
            self.assertIn("once", json.loads(got.body)["detail"])

    def test_prefer_is_a_list_over_all_lines(self):
        slow = {**MESSAGE, "to": ["ok@sandbox.test"]}
        for fields in ("Prefer: respond-async\r\nPrefer: wait=30\r\n", "Prefer: wait = 30\r\n",
                       'Prefer: wait="30"\r\n', "Prefer: return=minimal,\twait=30\r\n",
                       "prefer: Wait=99999999999\r\n", "Prefer: wait=30, wait=0\r\n"):
            got = self.post(JSON + fields, slow)
            self.assertEqual((got.status, got.all("Preference-Applied")), (200, ["wait"]), fields)
        for fields in ('Prefer: handling=lenient; note="x, wait=30"\r\n', "Prefer: wait=abc\r\n",
                       "Prefer: wait=-1\r\n", "Prefer: wait=0, wait=30\r\n"):
            got = self.post(JSON + fields, slow)
            self.assertEqual((got.status, got.all("Preference-Applied")), (202, []), fields)

    def test_each_kind_of_answer_bears_an_id_and_each_fault_is_a_problem(self):
        post = "POST /v1/messages HTTP/1.1\r\nHost: x\r\n"
        get = "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        rows = [(get.format("/livez"), 200), (get.format("/nothing"), 404),
                (get.format("/v1/messages"), 405), (get.format("/v1/messages/x"), 404),
                (get.format("/" + "a" * 9000), 414),
                ("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
                ("OPTIONS /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
                ("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
                (post + "Content-Length: 2\r\n\r\n{}", 415),
                (post + JSON + "Connection: close\r\nContent-Length: 2\r\n\r\n{}", 422),
                (post + JSON + "Connection: close\r\nContent-Length: 1\r\n\r\n{", 400),
                (post + JSON + "Content-Length: 99999999\r\n\r\n", 413),
                (post + "A: " + "a" * 20000 + "\r\n\r\n", 431),
                (post + "A: " + "a" * 300000 + "\r\n\r\n", 431),
                (post + "Content-Length: -1\r\n\r\n", 400),
                (post + "Content-Length: +5\r\n\r\nhello", 400),
                (post + "Content-Length: 99999999999999999999999\r\n\r\n", 413),
                (post + "no colon\r\n\r\n", 400),
                (post + JSON + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
                ("GET /livez HTTP/1.1\r\n\r\n", 400), ("GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 505)]
        for request, status in rows:
            data = talk(self.gateway.port, request)
            got = Response(data)
            self.assertEqual(got.status, status, request[:80])
            self.assertEqual(data.count(b"\r\n\r\n"), 1, data)
            self.assertEqual(len(got.all("X-Request-Id")), 1, request[:80])
            if status >= 400:
                self.assertEqual(got.all("Content-Type"), ["application/problem+json"], request[:80])
                self.assertEqual(json.loads(got.body)["status"], status)
                self.assertEqual(got.all("Content-Length"), [str(len(got.body))])
            if status == 405:
                self.assertTrue(got.all("Allow"), request)

    def test_the_cause_of_a_fault_in_the_json(self):
        for body, cause in ((b"\xef\xbb\xbf{}", "byte order mark"), (b'{"subject":"\xe4"}', "UTF-8"),
                            (b'{"subject":"\\ud800"}', "surrogate"), (b'{"sub\\u0000ject":1}', "u0000"),
                            (b'{"metadata":{"n":123456789012345678901234567890}}', "too large")):
            answer = self.gateway.post(body)
            self.assertEqual(answer.status, 400)
            self.assertIn(cause, answer.json()["detail"])


class Refusal(unittest.TestCase):
    """A client that sends all of its body before it reads, as most do, sees why it was refused."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway({"http": {"max_body": "1MiB", "memory": "8MiB"}})

    @classmethod
    def tearDownClass(cls):
        cls.gateway.close()

    def status(self, path, type, size, chunked=False):
        c = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=PATIENCE)
        body = b" " * size
        try:
            if chunked:
                c.request("POST", path, (body[i:i + 9999] for i in range(0, size, 9999)),
                          {"Content-Type": type}, encode_chunked=True)
            else:
                c.request("POST", path, body, {"Content-Type": type})
            return c.getresponse().status
        finally:
            c.close()

    def test_it_is_seen(self):
        for _ in range(5):
            for chunked in (False, True):
                self.assertEqual(self.status("/v1/messages", "text/plain", 1000000, chunked), 415)
                self.assertEqual(self.status("/nothing", "application/json", 1000000, chunked), 404)
                self.assertEqual(self.status("/livez", "application/json", 1000000, chunked), 405)
                self.assertEqual(
                    self.status("/v1/messages", "application/json", 1500000, chunked), 413)

    def test_who_waits_to_be_asked_is_answered_at_once(self):
        got = talk(self.gateway.port, "POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + JSON +
                   "Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
        self.assertEqual(Response(got).status, 413)

    def test_bodies_that_are_announced_and_do_not_come_are_in_nobodys_way(self):
        head = ("POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + JSON +
                "Expect: 100-continue\r\nContent-Length: 1048576\r\n\r\n").encode()
        held = [socket.create_connection(("127.0.0.1", self.gateway.port), timeout=PATIENCE)
                for _ in range(64)]
        try:
            for s in held:
                s.sendall(head)
            for s in held:
                self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 100"))
                s.sendall(b" ")
            self.assertEqual(self.gateway.post(MESSAGE).status, 202)
        finally:
            for s in held:
                s.close()


class Keys(unittest.TestCase):
    def test_a_scheme_in_any_case_and_spaces(self):
        with Gateway({"api_keys": [{"name": "k", "key": "secret", "scopes": ["send"]}]}) as gateway:
            for value in ("Bearer secret", "bearer secret", "BEARER   secret", "Bearer secret  "):
                self.assertEqual(gateway.post(MESSAGE, {"Authorization": value}).status, 202, value)
            for value in ("Bearersecret", "Bearer", "Basic secret", "Bearer secret x"):
                self.assertEqual(gateway.post(MESSAGE, {"Authorization": value}).status, 401, value)


class SandboxBesideRelays(unittest.TestCase):
    def test_it_can_be_named(self):
        with FakeRelay() as relay, Gateway({
                "sandbox": "on", "relays": [{"name": "r", "host": "127.0.0.1", "port": relay.port,
                                             "tls": "none"}]}) as gateway:
            answer = gateway.post({**MESSAGE, "relay": "sandbox"}, {"Prefer": "wait=30"})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.json()["recipients"][0]["relay"], "sandbox")
            self.assertEqual(len(gateway.get("/v1/sandbox/messages").json()["data"]), 1)
            answer = gateway.post({**MESSAGE, "relay": "sandbocks"})
            self.assertEqual(answer.status, 422)


if __name__ == "__main__":
    unittest.main()
