-- To version 5: deliveries of one ordering key stand in a line, a dead letter can be discarded
-- without being deleted, an event that no route wants is kept, and sources learn secrets. Counts by
-- minute and hour and the states of alerts have tables, and relay reload learns what became of a
-- reload. No row changes.

ALTER TABLE deliveries ADD COLUMN order_key INTEGER;
ALTER TABLE deliveries ADD COLUMN place INTEGER;
ALTER TABLE deliveries ADD COLUMN discarded_at INTEGER;
ALTER TABLE intents ADD COLUMN unrouted INTEGER;

CREATE INDEX line ON deliveries(destination_id, order_key, place) WHERE place IS NOT NULL;
CREATE INDEX unrouted ON intents(id) WHERE unrouted = 1;

CREATE TABLE learned_secrets (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    secret     TEXT NOT NULL,
    learned_at INTEGER NOT NULL,
    UNIQUE (source, secret)
) STRICT;

CREATE TABLE expected_secrets (
    source TEXT NOT NULL PRIMARY KEY,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts of a source, by minute (grain 60) for two days and by hour (3600) for 90. There is a row
-- only where something happened. The relay API and sources without a section have one row each.
CREATE TABLE source_rollups (
    grain      INTEGER NOT NULL, -- seconds
    at         INTEGER NOT NULL, -- the beginning of the minute or hour, by relay's clock
    source     TEXT NOT NULL,
    accepted   INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    PRIMARY KEY (grain, at, source)
) STRICT, WITHOUT ROWID;

-- The same of a destination. Ad hoc origins share a row.
CREATE TABLE destination_rollups (
    grain       INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    destination TEXT NOT NULL,
    delivered   INTEGER NOT NULL,
    failed      INTEGER NOT NULL, -- attempts
    dead        INTEGER NOT NULL,
    latency     BLOB,             -- from acceptance: 24 counts in LEB128, bounds double from 1 ms on
    PRIMARY KEY (grain, at, destination)
) STRICT, WITHOUT ROWID;

-- The state of each subject that alerts are about, as it was told last. A change is written in the
-- transaction that records its alert's event, so that it is told once.
CREATE TABLE alert_states (
    kind    TEXT NOT NULL,    -- the type of alert
    subject TEXT NOT NULL,    -- a destination, say. Empty if there is only one
    state   TEXT NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- One row: the configuration that the server runs, and its last attempt to take one over (its start, a
-- reload, a dry run of one). relay reload waits for attempts to rise.
CREATE TABLE config_state (
    id             INTEGER PRIMARY KEY,
    attempts       INTEGER NOT NULL,           -- ever, on this database
    began_at       INTEGER NOT NULL,           -- when the last one began to read the file
    is_dry_run     INTEGER NOT NULL,
    generation     INTEGER NOT NULL,           -- reloads of this process that took effect
    fingerprint    TEXT NOT NULL,              -- of the file that runs, without its secrets
    report         TEXT,                       -- what the last attempt changed …
    error          TEXT,                       -- … or why it was refused
    process        INTEGER NOT NULL,           -- the server's, as it knows itself
    on_hangup      INTEGER NOT NULL,           -- what SIGHUP does: 0 reloads, 1 is ignored (nohup), 2 isn't relay's
    CHECK (id = 1),
    CHECK (is_dry_run IN (0, 1)),
    CHECK (on_hangup BETWEEN 0 AND 2)
) STRICT;

INSERT INTO config_state VALUES (1, 0, 0, 0, 0, '', NULL, NULL, 0, 0);

-- Dead letters that were discarded are no dead letters to anybody.
DROP INDEX dead;
CREATE INDEX dead ON deliveries(destination_id, discarded_at, updated_at) WHERE state = 4 AND discarded_at IS NULL;
CREATE INDEX discarded ON deliveries(destination_id, discarded_at) WHERE discarded_at IS NOT NULL;
DROP INDEX listed;
CREATE INDEX listed ON deliveries(state, destination_id, intent_id)
WHERE discarded_at IS NULL AND (state IN (2, 4) OR (state = 0 AND history > 0));

-- Jobs do more than replay and discard dead letters, and on all destinations at once. Those under way go
-- on: each is on the dead letters (16) of one destination.
ALTER TABLE jobs RENAME TO jobs_4;
DROP INDEX open_jobs;
DROP INDEX ended_jobs;
DROP INDEX jobs_of;
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
    nonce          TEXT UNIQUE,
    actor          TEXT,
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    is_cancelled   INTEGER NOT NULL DEFAULT 0,
    CHECK (kind BETWEEN 0 AND 5),
    CHECK ((kind IN (2, 5)) = (target_id IS NOT NULL)),
    CHECK (is_cancelled IN (0, 1)),
    CHECK (is_cancelled = 0 OR ended_at IS NOT NULL)
) STRICT;

INSERT INTO jobs (id, operation, kind, destination_id, states, source, reason, since, until, total, done,
                  cursor_at, cursor_intent, cursor_more, created_at, ended_at, is_cancelled)
SELECT id, id, kind, destination_id, 16, source, reason, since, until, total, done,
       cursor_at, cursor_intent, 0, created_at, ended_at, is_cancelled
FROM jobs_4;
DROP TABLE jobs_4;

CREATE INDEX open_jobs ON jobs(id) WHERE ended_at IS NULL;
CREATE INDEX ended_jobs ON jobs(ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_of ON jobs(destination_id);
CREATE INDEX jobs_together ON jobs(operation);
