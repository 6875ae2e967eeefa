"""Against a real Postfix with Dovecot's login, over both kinds of TLS."""
import base64
import email
import email.policy
import glob
import os
import re
import time
import unittest

from gateway import Gateway
from peers import Peers

PNG = base64.b64encode(bytes(range(256)) * 40).decode()


class Postfix(Peers):
    scripts = ("dovecot.sh", "postfix.sh")

    def relay(self, offset, **more):
        return {"name": "postfix", "host": "localhost", "port": self.base + offset,
                "tls_options": {"ca_file": f"{self.dir}/certs/ca.pem"},
                "auth": {"username": "alice@smtp.test", "password": "wonderland"}, **more}

    def arrived(self, message_id, n=1, seconds=20):
        deadline = time.monotonic() + seconds
        while True:
            found = []
            for path in glob.glob(f"{self.dir}/postfix/mail/all/new/*"):
                with open(path, "rb") as f:
                    data = f.read()
                if message_id.encode() in data:
                    found.append(email.message_from_bytes(data, policy=email.policy.default))
            if len(found) >= n or time.monotonic() > deadline:
                self.assertEqual(len(found), n)
                return found
            time.sleep(0.05)

    def messages(self):
        plain = {"from": "alice@smtp.test", "to": ["bob@example.org"], "subject": "plain",
                 "text": "one\n.two\n..\nfrom here\n"}
        rich = {"from": {"name": "Älice \"Q\" Example, Dr.", "email": "alice@smtp.test"},
                "to": ["Bøb <bob@example.org>", {"name": "Ünï", "email": "carol@bücher.example"}],
                "cc": ["Dävid <david@example.org>"], "bcc": ["secret@example.org"],
                "reply_to": ["Reply Tö <reply@example.org>"],
                "subject": "Grüße, 世界 " + "und noch viel mehr Text " * 20 + "🎉",
                "text": "Zeile eins: äöü €\n" + "lang " * 300 + "\n日本語\n",
                "html": "<p>äöü <img src=\"cid:logo\"></p>\n" + "<b>x</b>" * 200,
                "headers": {"X-Campaign": "Frühling 42"},
                "attachments": [
                    {"filename": "größe und 日本.png", "content": PNG, "content_type": "image/png",
                     "disposition": "inline", "content_id": "logo"},
                    {"filename": "a \"b\" c.pdf", "content": PNG, "content_type": "application/pdf"},
                    {"filename": "sehr-lang-" + "ß" * 80 + ".txt", "content": "SGFsbG8=",
                     "content_type": "text/plain"}]}
        only = {"from": "alice@smtp.test", "to": "bob@example.org", "subject": "",
                "attachments": [{"filename": "x.bin", "content": PNG}]}
        html = {"from": "alice@smtp.test", "to": "bob@example.org", "subject": "h", "html": "<p>ö</p>"}
        return plain, rich, only, html

    def compare(self, sent, got):
        def text(value):
            return value.replace("\r\n", "\n")
        self.assertEqual(got.defects, [])
        self.assertEqual(str(got["subject"] or ""), sent["subject"])
        self.assertIsNone(got["bcc"])
        bodies = [p for p in got.walk() if not p.is_multipart() and
                  p.get_content_disposition() is None]
        for kind, name in (("plain", "text"), ("html", "html")):
            parts = [p for p in bodies if p.get_content_subtype() == kind]
            if name not in sent and kind == "html":
                self.assertEqual(parts, [])
            elif name in sent:
                self.assertEqual(text(parts[0].get_content()).rstrip("\n"),
                                 text(sent[name]).rstrip("\n"))
        attached = [p for p in got.walk() if p.get_content_disposition() is not None]
        self.assertEqual(len(attached), len(sent.get("attachments", [])))
        for wanted in sent.get("attachments", []):
            part = [p for p in attached if p.get_filename() == wanted["filename"]][0]
            content = part.get_payload(decode=True)
            self.assertEqual(content, base64.b64decode(wanted["content"]))
            self.assertEqual(part.get_content_type(),
                             wanted.get("content_type", "application/octet-stream"))
            self.assertEqual(part.get_content_disposition(),
                             wanted.get("disposition", "attachment"))
            if "content_id" in wanted:
                self.assertEqual(part["content-id"], f"<{wanted['content_id']}>")

    def test_parts_over_both_tls_modes(self):
        for offset, tls in ((587, "starttls"), (465, "implicit")):
            with Gateway({"relays": [self.relay(offset, tls=tls, connections={"max": 1})]}) as g:
                connects = self.count_connects(offset)
                for sent in self.messages():
                    with self.subTest(tls=tls, subject=sent["subject"][:10]):
                        answer = g.post(sent, {"Prefer": "wait=20"})
                        self.assertEqual(answer.status, 200, answer.body)
                        n = len(answer.json()["recipients"])
                        for got in self.arrived(answer.json()["message_id"], n):
                            self.compare(sent, got)
                            self.assertIn("TLS", str(got["received"]))
                for _ in range(20):
                    self.assertEqual(g.post({"from": "alice@smtp.test", "to": "b@example.org",
                                             "subject": "x", "text": "y"},
                                            {"Prefer": "wait=20"}).status, 200)
                self.assertEqual(self.count_connects(offset) - connects, 1, "one connection for all")

    def test_names(self):
        _, rich, _, _ = self.messages()
        with Gateway({"relays": [self.relay(587, tls="starttls")]}) as g:
            answer = g.post(rich, {"Prefer": "wait=20"})
            got = self.arrived(answer.json()["message_id"], 4)[0]
            sender = got["from"].addresses[0]
            self.assertEqual((sender.display_name, sender.addr_spec),
                             ("Älice \"Q\" Example, Dr.", "alice@smtp.test"))
            self.assertEqual([(a.display_name, a.addr_spec) for a in got["to"].addresses],
                             [("Bøb", "bob@example.org"),
                              ("Ünï", "carol@xn--bcher-kva.example")])
            self.assertEqual(got["reply-to"].addresses[0].display_name, "Reply Tö")
            self.assertEqual(str(got["x-campaign"]), "Frühling 42")
            self.assertEqual({a["address"] for a in answer.json()["recipients"]},
                             {"bob@example.org", "carol@xn--bcher-kva.example", "david@example.org",
                              "secret@example.org"})

    def count_connects(self, offset):
        with open(f"{self.dir}/postfix/log/mail.log", errors="replace") as f:
            return len(re.findall(rf"postfix/{self.base + offset}/smtpd\[\d+\]: connect from",
                                  f.read()))

    def test_utf8_local_part(self):
        with Gateway({"relays": [self.relay(587, tls="starttls")]}) as g:
            answer = g.post({"from": "alice@smtp.test", "to": "jürgen@example.org", "subject": "x",
                             "text": "y"}, {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 200, answer.body)
        with Gateway({"relays": [{**self.relay(28, tls="none"), "auth": {}}]}) as g:
            answer = g.post({"from": "alice@smtp.test", "to": "jürgen@example.org", "subject": "x",
                             "text": "y"}, {"Prefer": "wait=20"})
            self.assertEqual(answer.status, 502, answer.body)
            self.assertEqual(answer.json()["recipients"][0]["reply"]["enhanced"], "5.6.7")

    def test_refused_told_and_mended(self):
        good = self.relay(587, tls="starttls")
        untrusted = {**good, "tls_options": {}}
        bad_password = {**good, "auth": {"username": "alice@smtp.test", "password": "wrong"}}
        cases = [
            ("certificate_name_mismatch", self.relay(588, tls="starttls"), "server_name"),
            ("certificate_expired", self.relay(589, tls="starttls"), "renew"),
            ("certificate_untrusted", self.relay(590, tls="starttls"), "ca_file"),
            ("certificate_untrusted", untrusted, "ca_file"),
            ("certificate_not_yet_valid", self.relay(593, tls="starttls"), "clock"),
            ("starttls_not_offered", self.relay(26, tls="starttls"), "STARTTLS"),
            ("auth_failed", bad_password, "auth.password"),
            ("tls_on_plain_port", self.relay(587, tls="implicit"), "tls: starttls"),
        ]
        for code, relay, hint in cases:
            with self.subTest(code), Gateway({"relays": [relay]}) as g:
                ids = [g.post({"from": "alice@smtp.test", "to": "bob@example.org", "subject": code,
                               "text": "y"}).json()["id"] for _ in range(3)]
                g.wait_for_log(f"code={code}")
                log = g.log()
                self.assertIn(hint, log)
                self.assertNotIn("wonderland", log)
                for id in ids:
                    record = g.record(id)
                    self.assertEqual((record["status"], record["recipients"][0]["attempts"]),
                                     ("queued", 0))
                g.kill()
                g.configure({"relays": [good]})
                g.start()
                for id in ids:
                    self.assertEqual(g.wait_for(id)["status"], "sent")

    def test_answers_by_recipient(self):
        expected = {"unknown": "failed", "policy": "failed", "full": "failed",
                    "tempfail": "deferred", "greylist": "deferred", "someone": "sent"}
        with Gateway({"relays": [self.relay(587, tls="starttls")]}) as g:
            answer = g.post({"from": "alice@smtp.test", "to": [f"{n}@smtp.test" for n in expected],
                             "subject": "x", "text": "y"})
            record = g.wait_for(answer.json()["id"], ("deferred",))
            self.assertEqual({r["address"].split("@")[0]: r["status"]
                              for r in record["recipients"]}, expected)


if __name__ == "__main__":
    unittest.main()
