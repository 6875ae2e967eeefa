"""What a message says, by a second opinion: what was posted is what Python's email package reads."""
import base64
import email
import email.header
import email.policy
import email.utils
import re
import unittest

from fake_relay import FakeRelay
from gateway import Gateway

MESSAGE = {"from": "alice@example.com", "to": "bob@example.net", "subject": "s", "text": "t\n"}
WORDS = [
    "plain", "two  blanks", "a, b; c: d", "it's 100% *fine*", 'say "hi"', "back\\slash", "(comment)",
    "Grüße aus Köln", "合同" * 20, "שלום עולם", "مرحبا", "🎉 party 👩‍👩‍👧", "naïve =? text ?=",
    "=?UTF-8?Q?x?=", "=?utf-8?b?w7Y=?= and more", "a/b/../c", "C:\\temp\\x", "a <tag>", "x@y.z", "%41%zz",
    "e\u0301 combining", "\u202eright to left", "\u200bunseen", "long " * 40 + "end", "x" * 200,
    "ö" * 200, "a" * 60 + " ö",
]


def headers(raw):
    head = raw.partition(b"\r\n\r\n")[0]
    return [f for f in re.split(rb"\r\n(?![ \t])", head)]


class Content(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway()

    @classmethod
    def tearDownClass(cls):
        cls.gateway.close()

    def send(self, **fields):
        """The octets that the sandbox received."""
        answer = self.gateway.post({**MESSAGE, **fields}, {"Prefer": "wait=60"})
        self.assertEqual(answer.status, 200, answer.body)
        id = answer.json()["message_id"]
        for m in self.gateway.get("/v1/sandbox/messages").json()["data"]:
            raw = self.gateway.get(f"/v1/sandbox/messages/{m['id']}/raw").body
            if id.encode() in raw:
                for line in raw.split(b"\r\n"):
                    self.assertLessEqual(len(line), 998)
                    self.assertNotIn(b"\n", line)
                    self.assertNotIn(b"\r", line)
                return raw
        self.fail(f"{id} did not arrive")

    def read(self, **fields):
        return email.message_from_bytes(self.send(**fields), policy=email.policy.default)

    def refused(self, **fields):
        answer = self.gateway.post({**MESSAGE, **fields})
        self.assertEqual(answer.status, 422, answer.body)
        return {e["pointer"]: e["detail"] for e in answer.json()["errors"]}

    def test_subjects(self):
        for text in WORDS:
            with self.subTest(text=text[:40]):
                self.assertEqual(self.read(subject=text)["Subject"], text.strip())

    def test_names_of_mailboxes(self):
        """By the older half of the package: the newer leaves the blanks between encoded words in
        a phrase, against RFC 2047, 6.2."""
        to = [{"name": text, "email": f"u{i}@example.net"} for i, text in enumerate(WORDS)]
        field = email.message_from_bytes(self.send(to=to))["To"]
        got = email.utils.getaddresses([field.replace("\r\n", "").replace("\n", "")])
        self.assertEqual([address for _, address in got], [t["email"] for t in to])
        for mine, (theirs, _) in zip(to, got):
            with self.subTest(name=mine["name"][:40]):
                decoded = str(email.header.make_header(email.header.decode_header(theirs)))
                self.assertEqual(decoded, mine["name"].strip())

    def test_file_names(self):
        files = [{"filename": text, "content": base64.b64encode(text.encode()).decode()}
                 for text in WORDS + ["合同" * 50 + ".pdf", "合同合同合同合同.pdf", "🎉" * 255, "a;b=c.txt"]]
        parts = list(self.read(attachments=files).iter_attachments())
        self.assertEqual(len(parts), len(files))
        for file, part in zip(files, parts):
            with self.subTest(filename=file["filename"][:40]):
                self.assertEqual(part.get_filename(), file["filename"])
                self.assertEqual(part.get_content_disposition(), "attachment")
                self.assertEqual(part.get_payload(decode=True), file["filename"].encode())

    def test_structured_headers_go_out_as_they_are(self):
        cases = {
            "List-Unsubscribe": ["<https://news.example.com/u/1> ",
                                 "<mailto:u@example.com>,  <https://x.example/1>",
                                 "<https://x.example/?t=YQ=?x=1>",
                                 "<https://x.example/" + "u" * 940 + ">",
                                 "<https://x.example/" + "u" * 90 + ">, <mailto:u@example.com>"],
            "X-SMTPAPI": ['{"a":  1}', '{"to":["' + '", "'.join(f"u{i}@x.org" for i in range(90)) + '"]}'],
            "Feedback-ID": ["1:2:=?UTF-8?Q?x?=:4"],
        }
        for name, values in cases.items():
            for value in values:
                with self.subTest(value=value[:60]):
                    field = next(f for f in headers(self.send(headers={name: value}))
                                 if f.startswith(name.encode() + b":"))
                    self.assertEqual(field.replace(b"\r\n", b"").decode(), f"{name}: {value.strip()}")
                    self.assertFalse(field.startswith(name.encode() + b":\r\n"), field)

    def test_headers_that_stand_several_times(self):
        got = self.read(headers={"X-A": ["1", "2", "zwölf"], "X-B": [], "X-C": None, "X-D": "5"})
        self.assertEqual(got.get_all("X-A"), ["1", "2", "zwölf"])
        self.assertEqual((got["X-B"], got["X-C"], got["X-D"]), (None, None, "5"))

    def test_phrases_of_structured_headers(self):
        raw = self.send(headers={"Disposition-Notification-To": "Jürgen <j@example.com>",
                                 "List-Id": "für alle <news.example.com>", "Organization": "Müller & Söhne"})
        fields = {n.decode(): v for n, _, v in (f.partition(b": ") for f in headers(raw))}
        self.assertEqual(fields["Disposition-Notification-To"],
                         b"=?UTF-8?B?SsO8cmdlbg==?= <j@example.com>")
        self.assertEqual(fields["List-Id"], b"=?UTF-8?B?ZsO8ciBhbGxl?= <news.example.com>")
        got = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual(got["Organization"], "Müller & Söhne")

    def test_headers_refused(self):
        got = self.refused(headers={"List-Unsubscribe": "<" + "u" * 1200 + ">", "X-Long": "x" * 1000,
                                    "List-Post": "<mailto:ö@x.org>", "Errors-To": "Jürgen",
                                    "X-A": ["1", 2, "a\nb"], "x-a": "3"})
        self.assertEqual(set(got), {"/headers/List-Unsubscribe", "/headers/X-Long", "/headers/List-Post",
                                    "/headers/Errors-To", "/headers/X-A/1", "/headers/X-A/2",
                                    "/headers/x-a"})
        self.assertEqual(set(self.refused(headers={"X-A": ["v"] * 101})), {"/headers"})

    def test_ids_of_others(self):
        references = [f"<{'r' * (i % 90)}[{i}]@x,y>" for i in range(1000)]
        raw = self.send(in_reply_to="<no-at-sign;at:all>", references=references)
        got = {n: v for n, _, v in (f.partition(b":") for f in headers(raw))}
        self.assertEqual(got[b"In-Reply-To"], b" <no-at-sign;at:all>")
        self.assertEqual(got[b"References"].decode().split(), references)
        self.assertEqual(self.refused(references=["<a@b>"] * 1001).keys(), {"/references"})

    def test_attachments_are_what_they_are(self):
        eml = "From: x@example.com\nSubject: innen\n\nGrüße\n".encode()
        got = self.read(html='<img src="cid:logo">', attachments=[
            {"filename": "l.png", "content": "iVBORw0K", "content_id": "logo"},
            {"filename": "m.eml", "content": base64.b64encode(eml).decode()},
            {"filename": "r.pdf", "content": "QQ==", "content_type": 'application/pdf; name="rep.pdf"'},
            {"content": "QQ==", "content_type": 'text/csv; name="t.csv";'}])
        self.assertEqual([p.get_content_type() for p in got.walk()],
                         ["multipart/mixed", "multipart/related", "multipart/alternative", "text/plain",
                          "text/html", "image/png", "message/rfc822", "text/plain", "application/pdf",
                          "text/csv"])
        parts = list(got.walk())
        self.assertEqual(parts[1].get_param("type"), "multipart/alternative")
        self.assertEqual(parts[5].get_content_disposition(), "inline")
        self.assertEqual(parts[6]["Content-Transfer-Encoding"], "8bit")
        self.assertEqual(parts[0]["Content-Transfer-Encoding"], "8bit")
        inner = parts[6].get_payload(0)
        self.assertEqual((inner["Subject"], inner.get_payload(decode=True)), ("innen", "Grüße\r\n".encode()))
        self.assertEqual(parts[8].get_filename(), "r.pdf")
        self.assertEqual(parts[8].get_param("name"), "r.pdf")
        self.assertEqual(parts[9].get_filename(), "t.csv")

    def test_attachments_refused(self):
        long_line = base64.b64encode(b"From: x@y\n\n" + b"x" * 999).decode()
        got = self.refused(attachments=[
            {"content": "QQ==", "content_type": 'text/csv; charset="utf-8'},
            {"content": "QQ==", "content_type": 'text/csv; =x; "y"'},
            {"content": "QQ==", "content_type": "a/b; c=d; C=e"},
            {"content": "QQ==", "filename": "合" * 256},
            {"content": long_line, "content_type": "message/rfc822"}])
        self.assertEqual(set(got), {"/attachments/0/content_type", "/attachments/1/content_type",
                                    "/attachments/2/content_type", "/attachments/3/filename",
                                    "/attachments/4/content"})

    def test_mailboxes_that_are_the_relays_to_judge(self):
        odd = ['"odd user"@example.net', '""@example.net', "v" * 100 + "@example.net", '"a@b, c"@example.net']
        with FakeRelay() as relay, Gateway({"relays": [relay.settings()]}) as gateway:
            answer = gateway.post({**MESSAGE, "to": odd}, {"Prefer": "wait=60"})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual([r["address"] for r in answer.json()["recipients"]], odd)

    def test_what_cannot_be_seen_is_named(self):
        to = ["\u200bbob@example.net", "bob\ufeff@example.net", "b\u00a0b@example.net", "b\u00adb@example.net",
              "bob@exam\u200bple.net", "Bob <b\u2060b@example.net>"]
        got = self.refused(to=to)
        for i, point in enumerate(["200B", "FEFF", "00A0", "00AD", "200B", "2060"]):
            self.assertIn(f"U+{point}", got[f"/to/{i}"])
        self.assertIn("as a list", self.refused(to="a@x.com, b@y.com")["/to"])

    def test_encoded_words_in_a_string(self):
        got = self.read(to=["=?UTF-8?B?SsO8cmdlbg==?= <j@example.net>"])["To"].addresses[0]
        self.assertEqual((got.display_name, got.addr_spec), ("Jürgen", "j@example.net"))

    def test_the_first_word_stays_behind_its_name(self):
        raw = self.send(subject="https://example.com/a/" + "x" * 80, in_reply_to="<" + "i" * 90 + "@x>",
                        references=["<" + "i" * 90 + "@x>"], message_id="<" + "m" * 90 + "@x>",
                        **{"from": {"name": "n" * 40 + "." + "n" * 40, "email": "alice@example.com"}})
        for field in headers(raw):
            self.assertNotRegex(field, rb"^[^:]+:\r\n")


if __name__ == "__main__":
    unittest.main()
