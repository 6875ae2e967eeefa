"""A Kerberos realm of its own: a KDC on a loopback port, all its state in one folder."""
import os
import socket
import subprocess
import time

REALM = "SMTP.TEST"


class Kdc:
    """`env` is what clients and servers of the realm need."""

    def __init__(self, folder, port):
        self.dir, self.port = folder, port
        self.process = None
        self.keytab = f"{folder}/keytab"
        self.env = {"KRB5_CONFIG": f"{folder}/krb5.conf", "KRB5_KDC_PROFILE": f"{folder}/kdc.conf"}

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)

    def run(self, *command, secret=None, **env):
        done = subprocess.run(command, env={**os.environ, **self.env, **env}, input=secret,
                              text=True, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def configure(self):
        self.write("krb5.conf", f"""
[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    forwardable = false
[realms]
    {REALM} = {{
        kdc = 127.0.0.1:{self.port}
    }}
[domain_realm]
    localhost = {REALM}
""")
        self.write("kdc.conf", f"""
[kdcdefaults]
    kdc_listen = 127.0.0.1:{self.port}
    kdc_tcp_listen = 127.0.0.1:{self.port}
[realms]
    {REALM} = {{
        database_name = {self.path('principal')}
        key_stash_file = {self.path('stash')}
        acl_file = {self.path('acl')}
    }}
[logging]
    kdc = FILE:{self.path('kdc.log')}
""")

    def start(self):
        self.configure()
        self.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        with open(self.path("kdc.out"), "wb") as out:
            self.process = subprocess.Popen(["krb5kdc", "-n"], env={**os.environ, **self.env},
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the KDC does not listen") from None
                time.sleep(0.05)

    def add_user(self, name, password):
        self.run("kadmin.local", "addprinc", "-pw", password, name)

    def add_service(self, name):
        self.run("kadmin.local", "addprinc", "-randkey", name)
        self.run("kadmin.local", "ktadd", "-k", self.keytab, name)

    def ticket(self, user, password, cache):
        """The environment of somebody who is logged in."""
        name = f"FILE:{self.path(cache)}"
        self.run("kinit", user, secret=password + "\n", KRB5CCNAME=name)
        return {"KRB5_CONFIG": self.env["KRB5_CONFIG"], "KRB5CCNAME": name}

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
