"""An OAuth2 provider with faults on demand: what a real server does only when the time has come.

It gives device codes (RFC 8628) and authorization codes with PKCE (RFC 7636), and refreshes. It checks
what a provider checks; what it was asked is in `requests`, what it gave out in `secrets`.
"""
import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
import urllib.parse

CLIENT = "the-client"


def challenge_of(verifier):
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Refused(Exception):
    def __init__(self, word, status=400):
        super().__init__(word)
        self.status = status


class OAuthDouble:
    """`polls`: what the token endpoint says to one poll of a device after the other, the last repeats:
    an `error` of RFC 8628, "ok", "drop" (the connection), "broken" (503). `authorize`: "ok", an `error`
    to bring back, or "wrong state". `refreshes`: whether a refresh token comes at all."""

    def __init__(self, polls=("ok",), authorize="ok", refreshes=True, interval=1, expires_in=60,
                 client_secret=None):
        self.polls, self.authorize, self.refreshes = list(polls), authorize, refreshes
        self.interval, self.expires_in, self.client_secret = interval, expires_in, client_secret
        self.requests = []  # (time, path, fields)
        self.secrets = []   # whatever must be seen nowhere
        self.codes = {}     # code -> (challenge, redirect_uri)
        self.device_code = self.refresh_token = None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def entry(self, device=True, **more):
        """Its oauth entry for a configuration."""
        endpoints = {"token_url": f"{self.url}/token", "authorize_url": f"{self.url}/authorize"}
        if device:
            endpoints["device_url"] = f"{self.url}/device"
        return {"name": "double", "provider": "custom", "grant": "refresh_token", "client_id": CLIENT,
                "scope": "smtp offline_access", **endpoints, **more}

    def asked(self, path):
        return [fields for _, at, fields in self.requests if at == path]

    def new_secret(self, prefix):
        self.secrets.append(f"{prefix}-{secrets.token_urlsafe(24)}")
        return self.secrets[-1]

    # --- endpoints ---

    def on_authorize(self, q):
        if (q.get("response_type"), q.get("client_id"), q.get("code_challenge_method")) != (
                "code", CLIENT, "S256") or len(q.get("code_challenge", "")) != 43:
            raise Refused("invalid_request")
        answer = {"state": q["state"]}
        if self.authorize in ("ok", "wrong state"):
            answer["code"] = self.new_secret("code")
            self.codes[answer["code"]] = (q["code_challenge"], q["redirect_uri"])
        else:
            answer.update(error=self.authorize, error_description="as the test wants it")
        if self.authorize == "wrong state":
            answer["state"] = "f" * 32
        return q["redirect_uri"] + "?" + urllib.parse.urlencode(answer)

    def on_device(self, form):
        self.device_code = self.new_secret("device")
        return {"device_code": self.device_code, "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.url}/activate", "interval": self.interval,
                "expires_in": self.expires_in}

    def on_token(self, form):
        kind = form.get("grant_type", "").rsplit(":", 1)[-1]
        {"device_code": self.poll, "authorization_code": self.exchange,
         "refresh_token": self.refresh}[kind](form)
        answer = {"access_token": self.new_secret("access"), "token_type": "Bearer",
                  "expires_in": 3600}
        if self.refreshes:
            answer["refresh_token"] = self.refresh_token = self.new_secret("refresh")
        return answer

    def poll(self, form):
        if form.get("device_code") != self.device_code:
            raise Refused("invalid_grant")
        word = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        if word == "drop":
            raise ConnectionAbortedError
        if word != "ok":
            raise Refused(word, 503 if word == "broken" else 400)

    def exchange(self, form):
        challenge, redirect_uri = self.codes.pop(form.get("code"), (None, None))
        if challenge != challenge_of(form.get("code_verifier", "")):
            raise Refused("invalid_grant")
        if redirect_uri != form.get("redirect_uri"):
            raise Refused("invalid_grant")

    def refresh(self, form):
        if form.get("refresh_token") != self.refresh_token:
            raise Refused("invalid_grant")

    # --- HTTP ---

    def check_client(self, headers, form):
        if self.client_secret is None:
            if form.get("client_id") != CLIENT:
                raise Refused("invalid_client", 401)
            return
        wanted = base64.b64encode(f"{CLIENT}:{self.client_secret}".encode()).decode()
        if headers.get("Authorization") != f"Basic {wanted}":
            raise Refused("invalid_client", 401)

    def handler(double):  # pylint: disable=no-self-argument
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def fields(self, text):
                return dict(urllib.parse.parse_qsl(text, strict_parsing=True))

            def reply(self, status, tree):
                body = json.dumps(tree).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path, _, query = self.path.partition("?")
                fields = self.fields(query)
                double.requests.append((time.monotonic(), path, fields))
                try:
                    location = double.on_authorize(fields)
                except Refused as why:
                    self.reply(why.status, {"error": str(why)})
                    return
                self.send_response(302)
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                form = self.fields(self.rfile.read(int(self.headers["Content-Length"])).decode())
                double.requests.append((time.monotonic(), self.path, form))
                try:
                    double.check_client(self.headers, form)
                    on = {"/device": double.on_device, "/token": double.on_token}[self.path]
                    self.reply(200, on(form))
                except Refused as why:
                    self.reply(why.status, {"error": str(why)})
                except ConnectionAbortedError:
                    self.close_connection = True
        return Handler
