"""What distance costs: the same mail over a link of so many ms there and back, on 4 connections.

With CHUNKING the receiver is Postfix, which discards; with PIPELINING alone smtp-sink. In turn with
postern: itself with a larger window, and without the link; Nodemailer's pool and Postfix relaying,
over the same link.
"""
import contenders
import receivers
import report

CONNECTIONS = 4
FAR_MS = 50
TABLE_MS = (0, 20, 100, 200)


def settings(**more):
    return {"connections": CONNECTIONS, **more}


def rounds(makers, sizes, n_rounds):
    """Rates by name, round by round; each contender has its own number of messages."""
    running = [make() for make in makers]
    try:
        rates = {contender.name: [] for contender in running}
        for contender, n in zip(running, sizes):
            contender.run(max(64, n // 10))
        for _ in range(n_rounds):
            for contender, n in zip(running, sizes):
                rates[contender.name].append(contender.run(n))
        return rates, {c.name: c.rss for c in running if isinstance(c, contenders.Postern)}
    finally:
        for contender in running:
            contender.close()


def against_the_others(title, target, n, n_rounds):
    with receivers.Link(target, FAR_MS) as far:
        rates, _ = rounds([
            lambda: contenders.Postern(f"{FAR_MS} ms", far.port, **settings()),
            lambda: contenders.Postern(f"{FAR_MS} ms, window 32", far.port, **settings(window=32)),
            lambda: contenders.Postern("no distance", target, **settings()),
            lambda: contenders.HandWritten(far.port, connections=CONNECTIONS, nodemailer="7"),
            lambda: contenders.HandWritten(far.port, connections=CONNECTIONS),
            lambda: contenders.Smarthost(far.port, CONNECTIONS)],
            [n, n, n, 80, 160, 160], n_rounds)
    report.table(title, rates)


def table(name, target, n):
    print(f"\n{name}: postern alone, {CONNECTIONS} connections")
    print(f"  {'round trip':<14}{'messages/s':>12}{'RSS, MiB':>12}")
    for rtt_ms in TABLE_MS:
        with receivers.Link(target, rtt_ms) as link:
            rates, rss = rounds([lambda: contenders.Postern("far", link.port, **settings())],
                                [n if rtt_ms < 100 else n // 2], 3)
        (values,), (mib,) = rates.values(), rss.values()
        print(f"  {rtt_ms:>7} ms    {sorted(values)[1]:>12,.0f}{mib:>12.1f}", flush=True)


def run(n, n_rounds):
    with receivers.Postfix() as postfix, receivers.Sink() as sink:
        against_the_others(f"over {FAR_MS} ms into Postfix, CHUNKING, {CONNECTIONS} connections",
                           postfix.port, n // 2, n_rounds)
        against_the_others(f"over {FAR_MS} ms into smtp-sink, PIPELINING, {CONNECTIONS} connections",
                           sink.port, n // 4, n_rounds)
        table("CHUNKING, into Postfix", postfix.port, n // 2)
        table("PIPELINING, into smtp-sink", sink.port, n // 8)
