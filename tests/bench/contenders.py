"""Who is compared. Each says how many messages a second went from the client to the receiver."""
import json
import os
import shutil
import subprocess
import tempfile
import time

import footprint
import report
from gateway import Gateway
from ports import hold_port
from receivers import PEERS, ROOT, wait_for_port

CONNECTIONS = 20


# The message of peers/post.lua.
BODY = json.dumps({
    "from": "Alice Example <alice@example.com>", "to": ["bob@example.net"],
    "subject": "Your order has shipped",
    "text": "Hello Bob, your order is on its way. " * 40,
    "html": "<p>" + "Hello <b>Bob</b>, your order is on its way. " * 50 + "</p>"})


class Clients:
    """h2load: so many HTTP/1.1 clients post so many messages; it ends with the last answer."""

    def __init__(self, port, n_clients, prefer=None):
        self.body = tempfile.NamedTemporaryFile("w", suffix=".json")
        self.body.write(BODY)
        self.body.flush()
        self.command = ["h2load", "--h1", "-t", "1", "-c", str(n_clients), "-d", self.body.name,
                        "-H", "content-type: application/json"]
        if prefer is not None:
            self.command += ["-H", f"prefer: {prefer}"]
        self.command.append(f"http://127.0.0.1:{port}/v1/messages")

    def post(self, n):
        """Seconds until the last answer; fails if any was not 2xx."""
        begun = time.monotonic()
        done = subprocess.run([*self.command, "-n", str(n)], text=True, stdout=subprocess.PIPE,
                              check=True)
        if f"status codes: {n} 2xx" not in done.stdout:
            raise RuntimeError(done.stdout)
        return time.monotonic() - begun

    def close(self):
        self.body.close()


class Contender:
    def share(self, n):
        """How many of n to do: the slow would take the whole time."""
        return n

    def remarks(self):
        pass

    def close(self):
        pass


class Postern(Contender):
    def __init__(self, mode, port, prefer=None, ca=None, connections=CONNECTIONS, **settings):
        self.name = f"postern, {mode}"
        self.prefer = prefer
        relay = {"name": "bench", "host": "localhost", "port": port,
                 "tls": "none" if ca is None else "starttls",
                 "connections": {"max": connections, "max_messages": 0}, **settings}
        if ca is not None:
            relay["tls_options"] = {"ca_file": ca}
        self.gateway = Gateway({"relays": [relay]})
        self.clients = Clients(self.gateway.port, 64, prefer)
        self.rss = 0

    def sent(self):
        return footprint.metric(self.gateway, "postern_recipients_total", outcome="sent")

    def run(self, n):
        before, begun = self.sent(), time.monotonic()
        self.clients.post(n)
        while self.sent() < before + n:  # all that was accepted has arrived
            if time.monotonic() - begun > 300:
                raise RuntimeError(self.gateway.log()[-2000:])
            time.sleep(0.01)
        took = time.monotonic() - begun
        self.rss = max(self.rss, footprint.rss_mib(self.gateway.process.pid))
        return (self.sent() - before) / took

    def remarks(self):
        commits = footprint.metric(self.gateway, "postern_store_batch_size_count")
        records = footprint.metric(self.gateway, "postern_store_batch_size_sum")
        report.line(f"{self.name}: RSS", f"{self.rss:.1f} MiB after a round")
        if commits:
            report.line(f"{self.name}: batches", f"{commits:.0f} commits of {records / commits:.1f}")

    def close(self):
        self.clients.close()
        self.gateway.close()


class HandWritten(Contender):
    """`nodemailer`: a version for npm. Up to 9 it waits for every reply; since 10 it sends the
    envelope in one group."""

    def __init__(self, port, tls=False, connections=CONNECTIONS, nodemailer="10"):
        self.name = f"Fastify and Nodemailer {nodemailer}"
        folder = os.path.join(ROOT, "build", "bench", f"peer-{nodemailer}")
        if not os.path.isdir(os.path.join(folder, "node_modules")):
            os.makedirs(folder, exist_ok=True)
            subprocess.run(f"cp {PEERS}/package*.json {PEERS}/gateway.mjs {folder}/ && "
                           f"npm install --silent nodemailer@{nodemailer}",
                           shell=True, cwd=folder, check=True)
        self.port = hold_port()
        env = {**os.environ, "PORT": str(self.port), "SMTP_PORT": str(port),
               "CONNECTIONS": str(connections), "TLS": "starttls" if tls else "none"}
        self.process = subprocess.Popen(["node", "gateway.mjs"], cwd=folder, env=env)
        wait_for_port(self.port)
        self.clients = Clients(self.port, 64)

    def share(self, n):
        return max(100, n // 8)

    def run(self, n):
        return n / self.clients.post(n)

    def close(self):
        self.clients.close()
        self.process.terminate()
        self.process.wait()


class SmtpSource(Contender):
    name = "smtp-source"

    def __init__(self, port):
        self.port = port

    def run(self, n):
        begun = time.monotonic()
        subprocess.run(["/usr/sbin/smtp-source", "-d", "-s", str(CONNECTIONS), "-m", str(n), "-l",
                        "4096", "-f", "alice@example.com", "-t", "bob@example.net",
                        f"127.0.0.1:{self.port}"], check=True)
        return n / (time.monotonic() - begun)


class Smarthost(Contender):
    """Postfix in between: it queues what smtp-source gives it, and relays with as many connections
    at once. Timed from the first message to the last that its log calls sent."""
    name = "Postfix relaying"

    MAIN = """compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}/log
myhostname = smarthost.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
disable_dns_lookups = yes
default_database_type = texthash
relayhost = [127.0.0.1]:{relay}
smtp_tls_security_level = none
default_process_limit = 20
initial_destination_concurrency = {connections}
default_destination_concurrency_limit = {connections}
smtpd_relay_restrictions = permit_mynetworks, reject
"""
    MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""

    def __init__(self, relay_port, connections):
        self.dir = tempfile.mkdtemp(prefix="sh", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.port = hold_port()
        for name in ("etc", "queue", "data", "log"):
            os.mkdir(f"{self.dir}/{name}", 0o755)
        shutil.chown(f"{self.dir}/data", "postfix")
        for name, text in (("main", self.MAIN), ("master", self.MASTER)):
            with open(f"{self.dir}/etc/{name}.cf", "w", encoding="ascii") as f:
                f.write(text.format(dir=self.dir, relay=relay_port, port=self.port,
                                    connections=connections))
        self.postfix("start")
        wait_for_port(self.port)

    def postfix(self, command):
        subprocess.run(["/usr/sbin/postfix", "-c", f"{self.dir}/etc", command], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def share(self, n):
        return max(60, n // 8)

    def sent(self):
        with open(f"{self.dir}/log/mail.log", errors="replace") as f:
            return f.read().count("status=sent")

    def run(self, n):
        before, begun = self.sent(), time.monotonic()
        subprocess.run(["/usr/sbin/smtp-source", "-d", "-s", "8", "-m", str(n), "-l", "4096", "-f",
                        "alice@example.com", "-t", "bob@example.net", f"127.0.0.1:{self.port}"],
                       check=True)
        while self.sent() < before + n:
            if time.monotonic() - begun > 300:
                raise RuntimeError("the smarthost did not relay")
            time.sleep(0.02)
        return n / (time.monotonic() - begun)

    def close(self):
        self.postfix("stop")
        shutil.rmtree(self.dir, ignore_errors=True)
