"""What a gateway costs before it does anything, and what it says of itself."""
import re
import time
from statistics import median

import report
from gateway import Gateway


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1]) / 1024


def metric(gateway, name, **labels):
    """The sum over all series with these labels."""
    text = gateway.get("/metrics").body.decode()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(value)
               for shown, value in re.findall(rf"^{name}(?:{{(.*)}})? ([0-9.e+]+)$", text, re.M)
               if all(label in shown for label in wanted))


def idle():
    took, rss = [], []
    for _ in range(5):
        gateway = Gateway(start=False)
        begun = time.monotonic()
        gateway.start()
        while gateway.get("/readyz").status != 200:
            time.sleep(0.002)
        took.append(time.monotonic() - begun)
        time.sleep(0.5)
        rss.append(rss_mib(gateway.process.pid))
        gateway.close()
    print("the gateway by itself")
    report.line("from start to ready", f"{median(took) * 1000:.0f} ms (looked at every 20 ms)")
    report.line("RSS, idle, with sandbox", f"{median(rss):.1f} MiB")
