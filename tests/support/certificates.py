"""Certificates good and bad, made by the openssl command when a test needs them."""
import os
import shutil
import subprocess
import tempfile

LONG_AGO, LONG_HENCE = "20200101000000Z", "20491231000000Z"

CONFIG = """
[ca]
default_ca = d
[d]
database = {dir}/index
serial = {dir}/serial
new_certs_dir = {dir}
policy = p
unique_subject = no
default_md = sha256
[p]
commonName = supplied
[req]
distinguished_name = p
[root]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
"""


def dns_names(*names):
    """A subjectAltName with names that openssl's configuration cannot write, such as one with NUL."""
    body = b"".join(bytes([0x82, len(n)]) + n for n in names)
    return "DER:" + (bytes([0x30, len(body)]) + body).hex(":")


class Authority:
    """A certificate authority in a folder of its own; `with` removes it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="certs")
        self.n_leaves = 0
        self.config = self.write("ca.cnf", CONFIG.format(dir=self.dir))
        self.write("index", "")
        self.write("serial", "1000\n")
        self.key = self.make_key("ca.key")
        self.file = self.self_sign("ca.pem", self.key, "an authority for tests", "root", self.config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)
        return self.path(name)

    def openssl(self, *args):
        done = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {args[0]}: {done.stderr}")

    def make_key(self, name, rsa_bits=None):
        kind = (["RSA", "-pkeyopt", f"rsa_keygen_bits:{rsa_bits}"] if rsa_bits else
                ["EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        self.openssl("genpkey", "-algorithm", *kind, "-out", self.path(name))
        return self.path(name)

    def self_sign(self, name, key, subject, section, config):
        self.openssl("req", "-new", "-x509", "-config", config, "-extensions", section, "-key", key,
                     "-subj", f"/CN={subject}", "-days", "9000", "-out", self.path(name))
        return self.path(name)

    def leaf(self, names, subject="a leaf", begins=LONG_AGO, ends=LONG_HENCE, digest="sha256",
             rsa_bits=None, signed=True, issuer=None, authority=False):
        """(certificate, key) for `names`, which is a subjectAltName as openssl.cnf writes it; None:
        it has none. Not `signed`: by itself. `issuer`: another (certificate, key)."""
        self.n_leaves += 1
        stem = f"leaf{self.n_leaves}"
        key = self.make_key(f"{stem}.key", rsa_bits)
        lines = ["[leaf]", f"basicConstraints = CA:{'TRUE' if authority else 'FALSE'}"]
        if names is not None:
            lines.append(f"subjectAltName = {names}")
        extensions = self.write(f"{stem}.cnf", CONFIG.format(dir=self.dir) + "\n".join(lines) + "\n")
        if not signed:
            return self.self_sign(f"{stem}.pem", key, subject, "leaf", extensions), key
        by_certificate, by_key = issuer or (self.file, self.key)
        request, out = self.path(f"{stem}.csr"), self.path(f"{stem}.pem")
        self.openssl("req", "-new", "-config", self.config, "-key", key, "-subj", f"/CN={subject}",
                     "-out", request)
        self.openssl("ca", "-batch", "-notext", "-config", self.config, "-extfile", extensions,
                     "-extensions", "leaf", "-md", digest, "-in", request, "-out", out, "-cert",
                     by_certificate, "-keyfile", by_key, "-startdate", begins, "-enddate", ends)
        return out, key

    def chain(self, names):
        """A leaf with the intermediate that issued it, and the same leaf without."""
        issuer = self.leaf(None, "an intermediate", authority=True)
        certificate, key = self.leaf(names, issuer=issuer)
        whole = self.path("chain.pem")
        with open(whole, "wb") as out:
            for part in (certificate, issuer[0]):
                with open(part, "rb") as f:
                    out.write(f.read())
        return (whole, key), (certificate, key)
