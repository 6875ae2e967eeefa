-- A store as schema 2 left it, with a message of every kind. In doubt was 6.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1886352244;
PRAGMA user_version = 2;
CREATE TABLE message(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, message_id TEXT NOT NULL,
 sender TEXT NOT NULL, header_from TEXT NOT NULL, subject TEXT NOT NULL, api_key TEXT NOT NULL,
 tags TEXT NOT NULL, metadata TEXT NOT NULL, size INTEGER NOT NULL, smtputf8 INTEGER NOT NULL,
 created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, due_ms INTEGER,
 claimed INTEGER NOT NULL, ended_ms INTEGER, first_event INTEGER NOT NULL);
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
ALTER TABLE message ADD COLUMN relay TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
ALTER TABLE message ADD COLUMN require_tls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN dsn_notify TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN dsn_ret TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN dsn_envid TEXT NOT NULL DEFAULT '';
CREATE INDEX message_due ON message(priority, due_ms) WHERE claimed = 0 AND due_ms IS NOT NULL;
CREATE TABLE usage(relay TEXT NOT NULL, hour_ms INTEGER NOT NULL, messages INTEGER NOT NULL,
 recipients INTEGER NOT NULL, PRIMARY KEY(relay, hour_ms)) WITHOUT ROWID;
CREATE TEMP TABLE kind(seq, due_ms, claimed, ended_ms);
INSERT INTO kind VALUES
 (1, 1000000, 0, NULL), -- queued
 (2, 1000500, 0, NULL), -- deferred, with one that was sent
 (3, 1000600, 0, NULL), -- in doubt, to be tried again
 (4, NULL, 0, NULL),    -- in doubt, held
 (5, 1000000, 1, NULL), -- queued, claimed
 (6, 1000000, 1, NULL), -- one held in doubt, one queued; claimed
 (7, NULL, 0, 1000100), -- sent, its content kept
 (8, NULL, 0, 1000200), -- failed
 (9, NULL, 0, 1000300); -- canceled
INSERT INTO message SELECT seq, '01ARZ3NDEKTSV4RRFFQ69G5FB' || seq, '<' || seq || '@example.com>',
 'a@example.com', 'a@example.com', 'hello', 'shop', '["t"]', '{}', 6, 0, 1000000, 4600000, due_ms,
 claimed, ended_ms, seq * 10, 'backup', 0, 1, 'FAILURE', 'HDRS', '' FROM kind;
INSERT INTO body SELECT seq, x'6f6374657473' FROM kind WHERE seq <= 7;
INSERT INTO recipient(seq, n, address, status, attempts, relay, next_ms, at_ms) VALUES
 (1, 0, 'r0@example.net', 0, 0, NULL, 0, 1000000),
 (1, 1, 'r1@example.net', 0, 0, NULL, 0, 1000000),
 (2, 0, 'r0@example.net', 3, 1, 'primary', 0, 1000001),
 (2, 1, 'r1@example.net', 2, 1, 'primary', 1000500, 1000001),
 (3, 0, 'r0@example.net', 6, 1, 'primary', 1000600, 1000001),
 (4, 0, 'r0@example.net', 6, 1, 'primary', 0, 1000001),
 (5, 0, 'r0@example.net', 0, 0, NULL, 0, 1000000),
 (6, 0, 'r0@example.net', 6, 1, 'primary', 0, 1000001),
 (6, 1, 'r1@example.net', 0, 0, NULL, 0, 1000000),
 (7, 0, 'r0@example.net', 3, 1, 'primary', 0, 1000100),
 (8, 0, 'r0@example.net', 4, 1, 'primary', 0, 1000200),
 (9, 0, 'r0@example.net', 5, 0, NULL, 0, 1000300);
INSERT INTO event VALUES(100, 2, 0, 2, 1000001, 250, '2.0.0', 'Ok');
INSERT INTO event VALUES(101, 3, 0, 4, 1000001, 0, '', '');
INSERT INTO idempotency VALUES('shop', 'k', x'01', 1, 202, '{"first":1}');
INSERT INTO idempotency VALUES('shop', 'w', x'02', 5, 0, '{"first":5}');
INSERT INTO usage VALUES('primary', 0, 2, 3);
