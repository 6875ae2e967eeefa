"""What a login costs: by password and by a token that is there already, in turn; and what many
accounts cost, each with a token of its own."""
import statistics
import time

import footprint
import report
from fake_relay import FakeRelay
from gateway import Gateway
from token_endpoint import TokenEndpoint

ROUNDS = 5


def lets_in(session, event, argument):
    return "235 2.7.0 in\r\n" if event == "other" and argument.startswith("AUTH") else None


def oauth(name, endpoint):
    return {"name": name, "provider": "custom", "grant": "client_credentials", "client_id": name,
            "client_secret": "s", "token_url": endpoint.url()}


def relay(name, fake, **auth):
    return {"name": name, "host": "127.0.0.1", "port": fake.port, "tls": "none",
            "connections": {"max": 1, "max_messages": 1}, "auth": {"username": "u", **auth}}


def post(gateway, name):
    answer = gateway.post({"from": "a@example.com", "to": "b@example.net", "subject": "x",
                           "text": "x\n", "relay": name}, {"Prefer": "wait=30"})
    if answer.status != 200:
        raise RuntimeError(gateway.log()[-2000:])


def mean_login_ms(gateway, name, n):
    def read():
        return [footprint.metric(gateway, f"postern_smtp_connect_seconds_{part}", relay=name)
                for part in ("sum", "count")]
    seconds, count = read()
    for _ in range(n):
        post(gateway, name)
    seconds_now, count_now = read()
    return (seconds_now - seconds) / (count_now - count) * 1000


def compare(n):
    with FakeRelay(lets_in, extensions=("AUTH PLAIN XOAUTH2",)) as fake, TokenEndpoint() as endpoint:
        settings = {"oauth": [oauth("token", endpoint)],
                    "relays": [relay("password", fake, password="p"),
                               relay("token", fake, oauth="token")]}
        with Gateway(settings) as gateway:
            took = {"password": [], "token": []}
            post(gateway, "token")  # the cache is warm
            for _ in range(ROUNDS):
                for name, values in took.items():
                    values.append(mean_login_ms(gateway, name, n))
            print(f"\nlogins, {n} a round, from the first packet to logged in")
            for name, values in took.items():
                report.line(f"by {name}", f"{statistics.median(values):.2f} ms "
                                          f"({min(values):.2f} to {max(values):.2f})")
            report.line("token requests", len(endpoint.asked()))


def many(n):
    names = [f"account{i}" for i in range(n)]
    with FakeRelay(lets_in, extensions=("AUTH XOAUTH2",)) as fake, TokenEndpoint() as endpoint:
        settings = {"oauth": [oauth(name, endpoint) for name in names],
                    "relays": [relay(name, fake, oauth=name) for name in names]}
        with Gateway(settings) as gateway:
            print(f"\n{n} accounts, a token each, a message each")
            for title in ("cold", "warm"):
                before, begun = len(endpoint.asked()), time.monotonic()
                for name in names:
                    post(gateway, name)
                took = time.monotonic() - begun
                report.line(title, f"{took / n * 1000:.2f} ms a message, "
                                   f"{len(endpoint.asked()) - before} token requests")
            report.line("RSS", f"{footprint.rss_mib(gateway.process.pid):.1f} MiB")


def run():
    compare(100)
    many(1000)
