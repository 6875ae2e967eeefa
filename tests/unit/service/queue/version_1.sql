-- A store as postern 0.1.0 left it: a queued message of two, one of them deferred; one that ended.
PRAGMA application_id = 1886352244;
PRAGMA user_version = 1;
CREATE TABLE message(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, message_id TEXT NOT NULL,
 sender TEXT NOT NULL, header_from TEXT NOT NULL, subject TEXT NOT NULL, api_key TEXT NOT NULL,
 tags TEXT NOT NULL, metadata TEXT NOT NULL, size INTEGER NOT NULL, smtputf8 INTEGER NOT NULL,
 created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, due_ms INTEGER,
 claimed INTEGER NOT NULL, ended_ms INTEGER, first_event INTEGER NOT NULL);
CREATE INDEX message_due ON message(due_ms) WHERE claimed = 0 AND due_ms IS NOT NULL;
CREATE INDEX message_claimed ON message(seq) WHERE claimed = 1;
CREATE INDEX message_ended ON message(ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE body(seq INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE recipient(seq INTEGER NOT NULL, n INTEGER NOT NULL, address TEXT NOT NULL,
 status INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, relay TEXT,
 code INTEGER NOT NULL DEFAULT 0, enhanced TEXT NOT NULL DEFAULT '',
 text TEXT NOT NULL DEFAULT '', next_ms INTEGER NOT NULL DEFAULT 0, at_ms INTEGER NOT NULL,
 PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE INDEX recipient_open ON recipient(status, seq) WHERE status NOT IN (3, 4, 5);
CREATE TABLE event(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, n INTEGER NOT NULL,
 type INTEGER NOT NULL, at_ms INTEGER NOT NULL, code INTEGER NOT NULL, enhanced TEXT NOT NULL,
 text TEXT NOT NULL);
CREATE INDEX event_seq ON event(seq);
CREATE TABLE idempotency(api_key TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL,
 seq INTEGER NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
 PRIMARY KEY(api_key, key)) WITHOUT ROWID;
CREATE INDEX idempotency_seq ON idempotency(seq);
INSERT INTO message VALUES(1, '01ARZ3NDEKTSV4RRFFQ69G5FA1', '<1@example.com>', 'a@example.com',
 'a@example.com', 'one', 'shop', '["t"]', '{}', 6, 0, 1000000, 4600000, 1000000, 0, NULL, 1);
INSERT INTO message VALUES(2, '01ARZ3NDEKTSV4RRFFQ69G5FA2', '<2@example.com>', 'a@example.com',
 'a@example.com', 'two', '', '[]', '{}', 6, 0, 1000000, 4600000, NULL, 0, 1000100, 3);
INSERT INTO body VALUES(1, x'6f6374657473');
INSERT INTO recipient VALUES(1, 0, 'r0@example.net', 2, 1, 'primary', 450, '4.2.0', 'later',
 1000000, 1000000);
INSERT INTO recipient(seq, n, address, status, at_ms) VALUES(1, 1, 'r1@example.net', 0, 1000000);
INSERT INTO recipient VALUES(2, 0, 'r0@example.net', 3, 1, 'primary', 250, '2.0.0', 'Ok', 0,
 1000100);
INSERT INTO event VALUES(2, 1, 0, 1, 1000000, 450, '4.2.0', 'later');
INSERT INTO event VALUES(4, 2, 0, 2, 1000100, 250, '2.0.0', 'Ok');
INSERT INTO idempotency VALUES('shop', 'k', x'01', 1, 202, '{"first":1}');
