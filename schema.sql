-- The whole schema, version 6 (PRAGMA user_version); src/store/sqlite/migrations leads here from the versions
-- before it. The same in every build, so that any build opens any file. Times are milliseconds since the Unix epoch.
--
-- Cold and hot are apart: intents hold the payloads and hardly ever change; deliveries are narrow and
-- change with every attempt, so that a change of state never rewrites a payload (twice the claims
-- and completions a second, a quarter of the bytes written, measured).

-- Where deliveries go: a name from relay.toml, or the origin of an ad hoc URL.
CREATE TABLE destinations (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    paused_at    INTEGER,            -- nothing is claimed until somebody resumes it
    pause_reason TEXT,
    held_until   INTEGER,            -- Retry-After: nothing is claimed before this
    probe_wait   INTEGER,            -- milliseconds; set while the circuit breaker is open …
    probe_at     INTEGER,            -- … and then nothing but a probe is claimed, from this time on
    owner        INTEGER,            -- an ad hoc origin's: a digest of the API key that made it known
    proven_at    INTEGER,            -- when it was last found to answer; NULL once it timed out
    CHECK ((paused_at IS NULL) = (pause_reason IS NULL)),
    CHECK ((probe_at IS NULL) = (probe_wait IS NULL))
) STRICT;

-- How many origins wait for one API key: fairness and a limit are by key.
CREATE INDEX owned ON destinations(owner) WHERE owner IS NOT NULL;

-- What was accepted. Never changed, but that an event loses its payload once all of its deliveries are
-- discarded, once an operator erases it, or to make room.
CREATE TABLE intents (
    id              INTEGER PRIMARY KEY, -- the upper 60 bits of the UUIDv7: milliseconds and a counter
    random          INTEGER NOT NULL,    -- the lower 62 bits
    surface         INTEGER NOT NULL,    -- 0 a relay, 1 a webhook event
    created_at      INTEGER NOT NULL,
    label           TEXT NOT NULL,       -- a relay's event type, an event's source
    url             TEXT,                -- a relay's destination, as it was written
    scope           INTEGER,             -- whose idempotency key it is: a digest of the API key
    idempotency_key TEXT,
    request_digest  BLOB,                -- SHA-256 of a relay's request, for idempotency_conflict
    metadata        TEXT,                -- a relay's metadata, as JSON
    headers         BLOB NOT NULL,       -- what goes downstream, "name: value\r\n" each
    body            BLOB NOT NULL,       -- byte for byte; empty once it is discarded
    event_type      TEXT,                -- an event's type, if its source says where it is
    query           TEXT,                -- an event's query string, if it is appended to the URL
    unrouted        INTEGER,             -- 1 if no route wanted it, so that it has no delivery
    checksum        INTEGER,             -- 64 bits of SHA-256 over row, headers and body; NULL: from before version 6
    gone            INTEGER,             -- why it has no payload any more: 1 erased, 2 shed to make room …
    gone_at         INTEGER,             -- … and since when
    CHECK (surface IN (0, 1)),
    CHECK ((surface = 0) = (url IS NOT NULL))
) STRICT;

-- GET /v1/relays pages through these in order of acceptance. The row id is the index's last column.
CREATE INDEX relays ON intents(surface) WHERE surface = 0;

-- Events without deliveries, for retention and for operators.
CREATE INDEX unrouted ON intents(id) WHERE unrouted = 1;

-- Events without a payload, which go once their keys do.
CREATE INDEX shed ON intents(id) WHERE gone = 2;

-- Idempotency keys that name an intent: a 64-bit digest of surface, scope and key. The digest only
-- finds candidates; the key itself stands in the intent and is compared. Keys come here in sweeps, in
-- the order of the digest; until then the server holds them in memory, and reads them from the intents
-- after a start.
CREATE TABLE idempotency (
    digest    INTEGER NOT NULL,
    intent_id INTEGER NOT NULL,
    PRIMARY KEY (digest, intent_id)
) STRICT, WITHOUT ROWID;

-- One row: the keys of all intents up to this one have been moved to idempotency.
CREATE TABLE key_sweep (
    swept_to INTEGER NOT NULL
) STRICT;

INSERT INTO key_sweep VALUES (0);

-- One intent to one destination. The states and their moves: DeliveryState in src/model/state.rs.
CREATE TABLE deliveries (
    intent_id       INTEGER NOT NULL REFERENCES intents(id) ON DELETE CASCADE,
    -- Of destinations, without REFERENCES: deleting a destination would look through all deliveries.
    destination_id  INTEGER NOT NULL,
    state           INTEGER NOT NULL,           -- 0 queued, 1 processing, 2 retrying, 3 delivered, 4 dead_lettered
    attempts        INTEGER NOT NULL DEFAULT 0, -- spent of the budget; counted when claimed
    history         INTEGER NOT NULL DEFAULT 0, -- entries ever written to attempts
    interruptions   INTEGER NOT NULL DEFAULT 0, -- times in a row that the process ended during an attempt
    next_attempt_at INTEGER,                    -- set while it waits; the greatest number while it is behind another in its line
    claim           INTEGER,                    -- set while an attempt is under way: whose it is; below zero while it waits to begin
    updated_at      INTEGER NOT NULL,
    last_error      TEXT,
    order_key       INTEGER,                    -- which line it belongs to: 64 bits of a digest; NULL if it has no order
    place           INTEGER,                    -- set while it stands in the line: unfinished, or a dead letter that blocks
    discarded_at    INTEGER,                    -- set once a dead letter was discarded
    PRIMARY KEY (intent_id, destination_id),
    CHECK (state BETWEEN 0 AND 4),
    CHECK ((state IN (0, 2)) = (next_attempt_at IS NOT NULL)),
    CHECK ((state = 1) = (claim IS NOT NULL)),
    CHECK (state <> 4 OR last_error IS NOT NULL),
    CHECK (attempts >= 0 AND history >= 0 AND interruptions >= 0)
) STRICT, WITHOUT ROWID;

-- Who waits, for each destination by time: a claim costs the same whether ten rows wait or ten
-- million, and whoever's they are. The state rides along so that counting reads nothing else.
CREATE INDEX due ON deliveries(destination_id, next_attempt_at, state) WHERE next_attempt_at IS NOT NULL;

-- What a process that died left claimed; never more rows than nine for each worker.
CREATE INDEX claimed ON deliveries(claim) WHERE claim IS NOT NULL;

-- Dead letters, for operators; without those that were discarded.
CREATE INDEX dead ON deliveries(destination_id, discarded_at, updated_at) WHERE state = 4 AND discarded_at IS NULL;

-- Discarded ones, for operators.
CREATE INDEX discarded ON deliveries(destination_id, discarded_at) WHERE discarded_at IS NOT NULL;

-- What relay list --status shows of a state, the newest last. A delivery comes here when an attempt
-- has failed: accepting, the first claim and a delivery at once don't touch it.
CREATE INDEX listed ON deliveries(state, destination_id, intent_id)
WHERE discarded_at IS NULL AND (state IN (2, 4) OR (state = 0 AND history > 0));

-- The lines: deliveries of one ordering key of one destination, by place. All but one of a line wait behind
-- another one. Deliveries without an order are not in it.
CREATE INDEX line ON deliveries(destination_id, order_key, place) WHERE place IS NOT NULL;

-- What happened to a delivery, oldest first; the oldest entries give way (bounded).
CREATE TABLE attempts (
    intent_id      INTEGER NOT NULL,
    destination_id INTEGER NOT NULL,
    entry          INTEGER NOT NULL, -- 1, 2, … over the delivery's whole life
    attempt        INTEGER NOT NULL, -- 1-based in the current budget; 0 for a replay
    started_at     INTEGER NOT NULL,
    duration_ms    INTEGER NOT NULL,
    outcome        INTEGER NOT NULL, -- 0 delivered, 1 transient, 2 permanent, 3 interrupted, 4 replayed
    status_code    INTEGER,
    error          TEXT,
    response       BLOB,             -- the first 4 KiB
    failure        TEXT,             -- what kind: status, timeout, refused, reset, dns, tls, …
    address        TEXT,             -- what the name resolved to
    resolve_ms     INTEGER,          -- what the time was spent on; none when a connection was used again
    connect_ms     INTEGER,          -- TLS included
    first_byte_ms  INTEGER,          -- until the answer's headers were there, from the start
    next           TEXT,             -- what follows, and why
    tls_ms         INTEGER,          -- of connect_ms
    PRIMARY KEY (intent_id, destination_id, entry),
    FOREIGN KEY (intent_id, destination_id) REFERENCES deliveries(intent_id, destination_id) ON DELETE CASCADE,
    CHECK (outcome BETWEEN 0 AND 4)
) STRICT, WITHOUT ROWID;

-- By how much commands changed the number of deliveries in each state, until the server adds it to
-- the counts that it keeps in memory. A start counts anew, and empties it.
CREATE TABLE count_changes (
    destination_id INTEGER NOT NULL,
    state          INTEGER NOT NULL,
    change         INTEGER NOT NULL,
    PRIMARY KEY (destination_id, state)
) STRICT, WITHOUT ROWID;

-- Bulk operations: done in small steps, so that they survive a restart and yield to live traffic.
CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    operation      INTEGER,                    -- the first of the jobs that were created together
    kind           INTEGER NOT NULL,           -- 0 replay, 1 discard, 2 send to the target, 3 route, 4 retry, 5 reroute, 6 erase
    destination_id INTEGER REFERENCES destinations(id), -- only those of this destination; NULL: of all
    target_id      INTEGER,                    -- of destinations: where they go instead; a name, and never deleted
    states         INTEGER NOT NULL,           -- only those in these states, a bit for each
    source         TEXT,                       -- only those of this source
    event_type     TEXT,                       -- only those of this type
    reason         TEXT,                       -- only those whose last error holds this
    ids            TEXT,                       -- only these relays and events, separated by spaces
    since          INTEGER NOT NULL,           -- only those that were given up, or accepted, in this time
    until          INTEGER NOT NULL,
    total          INTEGER,                    -- how many there were at its creation; NULL if nobody counted them
    done           INTEGER NOT NULL DEFAULT 0,
    skipped        INTEGER NOT NULL DEFAULT 0, -- were there already
    payload_gone   INTEGER NOT NULL DEFAULT 0, -- can't be sent any more
    in_flight      INTEGER NOT NULL DEFAULT 0, -- were in an attempt at the end
    cursor_at      INTEGER NOT NULL,           -- the last one looked at, by the columns of its order
    cursor_intent  INTEGER NOT NULL,
    cursor_more    INTEGER NOT NULL,
    pass_done      INTEGER NOT NULL DEFAULT 0, -- of done, since the cursor was last at the beginning
    begun_at       INTEGER,                    -- its first step: what has changed since isn't selected
    look_again_at  INTEGER,                    -- when it looks again for those that were in flight …
    look_until     INTEGER,                    -- … and how long it does; NULL in the first pass
    erased_at      INTEGER,                    -- everything is erased, and ends once the WAL is emptied
    nonce          TEXT UNIQUE,                -- a request made twice is one operation
    actor          TEXT,                       -- who asked for it
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    is_cancelled   INTEGER NOT NULL DEFAULT 0,
    CHECK (kind BETWEEN 0 AND 6),
    CHECK ((kind IN (2, 5)) = (target_id IS NOT NULL)),
    CHECK (is_cancelled IN (0, 1)),
    CHECK (is_cancelled = 0 OR ended_at IS NOT NULL)
) STRICT;

CREATE INDEX open_jobs ON jobs(id) WHERE ended_at IS NULL;

-- Those to be forgotten.
CREATE INDEX ended_jobs ON jobs(ended_at) WHERE ended_at IS NOT NULL;

-- A destination with jobs isn't deleted.
CREATE INDEX jobs_of ON jobs(destination_id);

-- The jobs that were created together.
CREATE INDEX jobs_together ON jobs(operation);

-- Secrets that senders gave to sources by a handshake: whoever knows one can sign events. Only commands
-- let a source learn one.
CREATE TABLE learned_secrets (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    secret     TEXT NOT NULL,
    learned_at INTEGER NOT NULL,
    UNIQUE (source, secret)
) STRICT;

-- Sources that learn the next secret that comes, and until when.
CREATE TABLE expected_secrets (
    source TEXT NOT NULL PRIMARY KEY,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts of a source, by minute (grain 60) for two days and by hour (3600) for 90. There is a row
-- only where something happened; the relay API and sources without a section have one row each.
CREATE TABLE source_rollups (
    grain      INTEGER NOT NULL, -- seconds
    at         INTEGER NOT NULL, -- the beginning of the minute or hour, by relay's clock
    source     TEXT NOT NULL,
    accepted   INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    PRIMARY KEY (grain, at, source)
) STRICT, WITHOUT ROWID;

-- The same of a destination; ad hoc origins share a row.
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
    subject TEXT NOT NULL,    -- a destination, say; empty if there is only one
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

-- Facts that outlive a process, by name: such as unchecked_to, the last event without a checksum.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Tells the copies of this database, backups of it, from those of others.
INSERT INTO settings VALUES ('database_id', lower(hex(randomblob(16))));

-- Events that an operator erased. A restored backup has to lose them again, however old it is; so a row
-- stays for good.
CREATE TABLE erasures (
    intent_id INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL
) STRICT;

-- How many bytes the database used, for a forecast; the last week's.
CREATE TABLE space_samples (
    at   INTEGER PRIMARY KEY,
    used INTEGER NOT NULL
) STRICT;

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
