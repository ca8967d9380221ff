-- To version 6: payloads have checksums, and can be erased or shed. Erasures are remembered, an
-- attempt tells how long TLS took, and settings and the growth of the database have tables. Views
-- are for readers in SQL. No row of an event changes: one from before has no checksum.

ALTER TABLE intents ADD COLUMN checksum INTEGER;
ALTER TABLE intents ADD COLUMN gone INTEGER;
ALTER TABLE intents ADD COLUMN gone_at INTEGER;
ALTER TABLE attempts ADD COLUMN tls_ms INTEGER;

CREATE INDEX shed ON intents(id) WHERE gone = 2;

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Tells the copies of this database, backups of it, from those of others.
INSERT INTO settings VALUES ('database_id', lower(hex(randomblob(16))));

-- Events up to this one have no checksum.
INSERT INTO settings SELECT 'unchecked_to', id FROM intents ORDER BY id DESC LIMIT 1;

CREATE TABLE erasures (
    intent_id INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL
) STRICT;

CREATE TABLE space_samples (
    at   INTEGER PRIMARY KEY,
    used INTEGER NOT NULL
) STRICT;

-- Jobs also erase. A CHECK can't be changed.
ALTER TABLE jobs RENAME TO jobs_5;
DROP INDEX open_jobs;
DROP INDEX ended_jobs;
DROP INDEX jobs_of;
DROP INDEX jobs_together;
CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    operation      INTEGER,
    kind           INTEGER NOT NULL,
    destination_id INTEGER REFERENCES destinations(id),
    target_id      INTEGER,
    states         INTEGER NOT NULL,
    source         TEXT,
    event_type     TEXT,
    reason         TEXT,
    ids            TEXT,
    since          INTEGER NOT NULL,
    until          INTEGER NOT NULL,
    total          INTEGER,
    done           INTEGER NOT NULL DEFAULT 0,
    skipped        INTEGER NOT NULL DEFAULT 0,
    payload_gone   INTEGER NOT NULL DEFAULT 0,
    in_flight      INTEGER NOT NULL DEFAULT 0,
    cursor_at      INTEGER NOT NULL,
    cursor_intent  INTEGER NOT NULL,
    cursor_more    INTEGER NOT NULL,
    pass_done      INTEGER NOT NULL DEFAULT 0,
    begun_at       INTEGER,
    look_again_at  INTEGER,
    look_until     INTEGER,
    erased_at      INTEGER,
    nonce          TEXT UNIQUE,
    actor          TEXT,
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    is_cancelled   INTEGER NOT NULL DEFAULT 0,
    CHECK (kind BETWEEN 0 AND 6),
    CHECK ((kind IN (2, 5)) = (target_id IS NOT NULL)),
    CHECK (is_cancelled IN (0, 1)),
    CHECK (is_cancelled = 0 OR ended_at IS NOT NULL)
) STRICT;

INSERT INTO jobs
SELECT id, operation, kind, destination_id, target_id, states, source, event_type, reason, NULL, since, until,
       total, done, skipped, payload_gone, in_flight, cursor_at, cursor_intent, cursor_more, pass_done,
       begun_at, look_again_at, look_until, NULL, nonce, actor, created_at, ended_at, is_cancelled
FROM jobs_5;
DROP TABLE jobs_5;

CREATE INDEX open_jobs ON jobs(id) WHERE ended_at IS NULL;
CREATE INDEX ended_jobs ON jobs(ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_of ON jobs(destination_id);
CREATE INDEX jobs_together ON jobs(operation);

-- For readers in SQL: version 1, described in docs/sql.md. Columns are only ever added. `event` is the
-- key to join by.
CREATE VIEW relay_events AS
SELECT i.id AS event,
       iif(i.surface = 1, 'evt_', '') || printf('%08x-%04x-7%03x-%04x-%012x', i.id >> 28,
           (i.id >> 12) & 65535, i.id & 4095, 32768 | (i.random >> 48),
           i.random & 281474976710655) AS id,
       iif(i.surface = 1, 'webhooks', 'relays') AS surface,
       iif(i.surface = 1, i.label, NULL) AS source,
       iif(i.surface = 1, i.event_type, i.label) AS event_type,
       i.url AS url,
       strftime('%Y-%m-%dT%H:%M:%fZ', i.created_at / 1000.0, 'unixepoch') AS accepted_at,
       i.idempotency_key AS idempotency_key,
       i.metadata AS metadata,
       i.query AS query,
       CAST(i.headers AS TEXT) AS headers,
       length(i.body) AS payload_bytes,
       iif(i.gone IS NULL, i.body, NULL) AS payload,
       CASE i.gone WHEN 1 THEN 'erased' WHEN 2 THEN 'shed' END AS payload_gone,
       strftime('%Y-%m-%dT%H:%M:%fZ', i.gone_at / 1000.0, 'unixepoch') AS payload_gone_at,
       i.unrouted IS NOT NULL AS is_unrouted
FROM intents i;

CREATE VIEW relay_deliveries AS
SELECT d.intent_id AS event,
       t.name AS destination,
       CASE d.state WHEN 0 THEN 'queued' WHEN 1 THEN 'processing' WHEN 2 THEN 'retrying'
                    WHEN 3 THEN 'delivered' ELSE 'dead_lettered' END AS status,
       d.attempts AS attempts,
       iif(d.next_attempt_at = 9223372036854775807, NULL,
           strftime('%Y-%m-%dT%H:%M:%fZ', d.next_attempt_at / 1000.0, 'unixepoch'))
           AS next_attempt_at,
       d.next_attempt_at IS 9223372036854775807 AS waits_in_order,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.updated_at / 1000.0, 'unixepoch') AS updated_at,
       d.last_error AS last_error,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.discarded_at / 1000.0, 'unixepoch') AS discarded_at
FROM deliveries d JOIN destinations t ON t.id = d.destination_id;

CREATE VIEW relay_attempts AS
SELECT a.intent_id AS event,
       t.name AS destination,
       a.entry AS entry,
       a.attempt AS attempt,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.started_at / 1000.0, 'unixepoch') AS started_at,
       a.duration_ms AS duration_ms,
       CASE a.outcome WHEN 0 THEN 'delivered' WHEN 1 THEN 'transient' WHEN 2 THEN 'permanent'
                      WHEN 3 THEN 'interrupted' ELSE 'replayed' END AS outcome,
       a.status_code AS status_code,
       a.failure AS failure,
       a.error AS error,
       a.response AS response,
       a.address AS address,
       a.resolve_ms AS resolve_ms,
       a.connect_ms AS connect_ms,
       a.tls_ms AS tls_ms,
       a.first_byte_ms AS first_byte_ms,
       a.next AS next
FROM attempts a JOIN destinations t ON t.id = a.destination_id;
