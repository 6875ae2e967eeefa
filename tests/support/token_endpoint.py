"""A token endpoint that does as it is told, for faults that a certified server does not produce."""
import http.server
import json
import secrets
import socket
import threading
import time


class TokenEndpoint:
    """`faults`: path -> (how often, answer). An answer is raw octets, or a function of the handler;
    after that many the path grants tokens, as all others do at once. Refresh tokens are rotated;
    an old one that comes again is noted in `reused` and refused. `listener`: one of
    ports.bound_socket(), where nobody has answered so far."""

    def __init__(self, faults=None, lifetime=3600, listener=None):
        self.faults = {path: [n, answer] for path, (n, answer) in (faults or {}).items()}
        self.lifetime, self.lock = lifetime, threading.Lock()
        self.requests, self.tokens, self.reused = [], [], []
        self.refresh_token = "refresh-" + secrets.token_urlsafe(16)
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                endpoint.serve(self, body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler,
                                                      bind_and_activate=False)
        self.server.daemon_threads = True
        self.server.socket.close()
        self.server.socket = listener or socket.create_server(("127.0.0.1", 0))
        self.server.server_activate()
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path="/token"):
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, handler, body):
        with self.lock:
            self.requests.append((time.monotonic(), handler.path, body))
            fault = self.faults.get(handler.path)
            faulty = fault is not None and fault[0] > 0
            if faulty:
                fault[0] -= 1
            answer = fault[1] if faulty else self.grant(body)
        if callable(answer):
            answer(handler)
        else:
            handler.wfile.write(answer)
        handler.close_connection = True

    def grant(self, body):
        fields = dict(pair.split("=", 1) for pair in body.split("&"))
        answer = {"access_token": self.new_token(), "token_type": "Bearer",
                  "expires_in": self.lifetime}
        if fields.get("grant_type") == "refresh_token":
            if fields.get("refresh_token") != self.refresh_token:
                self.reused.append(fields.get("refresh_token"))
                return reply(400, json.dumps({"error": "invalid_grant"}))
            self.refresh_token = "refresh-" + secrets.token_urlsafe(16)
            answer["refresh_token"] = self.refresh_token
        return reply(200, json.dumps(answer))

    def new_token(self):
        self.tokens.append("access-" + secrets.token_urlsafe(16))
        return self.tokens[-1]

    def asked(self, path="/token"):
        with self.lock:
            return [request for request in self.requests if request[1] == path]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def reply(status, body, content_type="application/json", **headers):
    lines = [f"HTTP/1.1 {status} x", f"Content-Type: {content_type}",
             f"Content-Length: {len(body)}", "Connection: close",
             *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
