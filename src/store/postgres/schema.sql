-- The whole schema, version 1 (relay.about). The same as schema.sql of SQLite but for what the
-- comments say. Times are milliseconds since the Unix epoch by the database's clock, as each node
-- follows it; leases alone are timestamptz, and judged by the database.
--
-- Everything stands in a schema of its own and is named with it: poolers lose a search_path. There
-- are no foreign keys (accepting would do 0.73 of what it does), triggers, advisory locks or
-- extensions, so that the family of PostgreSQL can keep it. Text that comes from outside is bytea,
-- since text can't hold a NUL.

CREATE SCHEMA relay;

CREATE TABLE relay.about (                      -- one row
    is_only      boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version      int NOT NULL,
    minimum      int NOT NULL,                  -- of the versions of a node that these tables work with
    installation uuid NOT NULL,                 -- tells the copies of this database from others
    buckets      smallint NOT NULL DEFAULT 256,
    unfinished_move text,                       -- set while a move to here is not finished, as JSON …
    moved_away      text                        -- … and once everything was moved from here: nobody serves it
);

CREATE SEQUENCE relay.epochs;                   -- never repeats: an epoch names one life of one node

CREATE TABLE relay.nodes (                      -- who lives; a row that is gone is never used again
    slot    smallint PRIMARY KEY CHECK (slot BETWEEN 0 AND 31), -- the low 5 bits of its events' ids
    epoch   bigint NOT NULL UNIQUE,
    name    text NOT NULL UNIQUE,
    version text NOT NULL,
    seen_at timestamptz NOT NULL,               -- the last heartbeat
    lease   interval NOT NULL,
    is_leaving boolean NOT NULL DEFAULT false,  -- gives its buckets up, and gets none
    reloads bigint NOT NULL DEFAULT 0,          -- of its configuration, as commands have asked for
    dry_runs bigint NOT NULL DEFAULT 0          -- the same of reloads that only tell what would change
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50);

CREATE TABLE relay.buckets (                    -- a destination's: 64 bits of SHA-256 of its name, mod 256
    bucket smallint PRIMARY KEY,
    epoch  bigint,                              -- whose it is; NULL: nobody's. Changes with membership only
    poked  bigint NOT NULL DEFAULT 0            -- counts up when something old became due
) WITH (fillfactor = 50);

CREATE TABLE relay.destinations (
    id           int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name         text NOT NULL UNIQUE,
    bucket       smallint NOT NULL,
    paused_at    bigint,
    pause_reason bytea,
    held_until   bigint,
    probe_wait   bigint,
    probe_at     bigint,
    owner        bigint,
    proven_at    bigint,
    unused_by    bigint,                        -- the epoch that found no delivery to it; NULL once one ends
    CHECK ((paused_at IS NULL) = (pause_reason IS NULL)),
    CHECK ((probe_at IS NULL) = (probe_wait IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX owned ON relay.destinations (owner) WHERE owner IS NOT NULL;

CREATE TABLE relay.intents (
    id              bigint PRIMARY KEY,         -- 48 bits of milliseconds, 7 of a counter, 5 of the node's slot
    random          bigint NOT NULL,
    surface         smallint NOT NULL,
    created_at      bigint NOT NULL,
    label           bytea NOT NULL,
    url             text,
    scope           bigint,
    idempotency_key bytea,
    request_digest  bytea,
    metadata        text,
    headers         bytea NOT NULL,
    body            bytea NOT NULL,
    event_type      bytea,
    query           bytea,
    unrouted        smallint,
    checksum        bigint,
    gone            smallint,
    gone_at         bigint,
    CHECK (surface IN (0, 1)),
    CHECK ((surface = 0) = (url IS NOT NULL))
);
ALTER TABLE relay.intents ALTER body SET STORAGE EXTERNAL; -- it is sent as it is: don't compress
CREATE INDEX relays ON relay.intents (id) WHERE surface = 0;
CREATE INDEX unrouted ON relay.intents (id) WHERE unrouted = 1;
CREATE INDEX shed ON relay.intents (id) WHERE gone = 2;

CREATE TABLE relay.idempotency (                -- no key is kept in memory: no node may know alone
    digest     uuid PRIMARY KEY,                -- 128 bits of SHA-256 of surface, scope, source and key
    intent_id  bigint NOT NULL,
    created_at bigint NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX keys_of ON relay.idempotency (intent_id);

CREATE TABLE relay.erased_keys (                -- of events erased before a move from a file, which keeps 64 bits
    digest bigint PRIMARY KEY
);

CREATE TABLE relay.waiting (                    -- hot: a row as long as a delivery isn't at its end
    destination_id  int NOT NULL,
    next_attempt_at bigint NOT NULL,            -- the greatest number while it is behind another in its line
    intent_id       bigint NOT NULL,
    state           smallint NOT NULL DEFAULT 0 CHECK (state IN (0, 2)),
    attempts        int NOT NULL DEFAULT 0,     -- counted when it is settled; while claimed, the claim has it
    history         int NOT NULL DEFAULT 0,
    interruptions   int NOT NULL DEFAULT 0,
    updated_at      bigint NOT NULL,
    last_error      bytea,
    order_key       bigint,
    place           bigint,
    PRIMARY KEY (destination_id, next_attempt_at, intent_id)    -- the index `due` is the table's key
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX waiting_intent ON relay.waiting (intent_id, destination_id);
CREATE INDEX waiting_line ON relay.waiting (destination_id, order_key, place, intent_id)
    WHERE place IS NOT NULL;                    -- with the intent: the first of a line is found without a sort
CREATE INDEX retrying ON relay.waiting (intent_id, destination_id) WHERE state = 2;
CREATE INDEX waiting_line_head ON relay.waiting (destination_id, order_key)
    WHERE place IS NOT NULL AND next_attempt_at < 9223372036854775807;
CREATE INDEX waiting_listed ON relay.waiting (state, destination_id, intent_id) WHERE state = 2 OR history > 0;

CREATE TABLE relay.ended (                      -- append-only until a replay or retention
    intent_id      bigint NOT NULL,
    destination_id int NOT NULL,
    state          smallint NOT NULL CHECK (state IN (3, 4)),
    attempts       int NOT NULL,
    history        int NOT NULL,
    interruptions  int NOT NULL DEFAULT 0,
    updated_at     bigint NOT NULL,
    last_error     bytea,
    order_key      bigint,
    place          bigint,                      -- a dead letter that blocks its line
    discarded_at   bigint,
    PRIMARY KEY (intent_id, destination_id),
    CHECK (state <> 4 OR last_error IS NOT NULL)
);
CREATE INDEX dead ON relay.ended (destination_id, updated_at, intent_id) WHERE state = 4 AND discarded_at IS NULL;
CREATE INDEX dead_latest ON relay.ended (intent_id, destination_id) WHERE state = 4 AND discarded_at IS NULL;
CREATE INDEX dead_listed ON relay.ended (destination_id, intent_id) WHERE state = 4 AND discarded_at IS NULL;
CREATE INDEX discarded ON relay.ended (destination_id, discarded_at) WHERE discarded_at IS NOT NULL;
CREATE INDEX ended_line ON relay.ended (destination_id, order_key, place, intent_id) WHERE place IS NOT NULL;

CREATE TABLE relay.claims (                     -- one row a turn: what whoever takes over counts as interrupted
    epoch        bigint NOT NULL,
    turn         bigint NOT NULL,
    made_at      bigint NOT NULL,
    intents      bigint[] NOT NULL,
    destinations int[] NOT NULL,
    attempts     int[] NOT NULL,                -- what each attempt is, 1-based in its budget; 0 once released
    histories    int[] NOT NULL,                -- each delivery's history before, so that a settlement changes no claim
    begun        int NOT NULL,                  -- the first so many; the others wait behind them and are not counted
    PRIMARY KEY (epoch, turn)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Deliveries under way, with the attempt and the length of the history before it. One of a history
-- that is longer by now is settled, so that a read compares it with the row of waiting.
CREATE VIEW relay.claimed AS
    SELECT c.epoch, c.turn, c.made_at, u.intent_id, u.destination_id, u.attempt, u.history
    FROM relay.claims c CROSS JOIN LATERAL
         unnest(c.intents, c.destinations, c.attempts, c.histories)
             AS u(intent_id, destination_id, attempt, history)
    WHERE u.attempt > 0;

-- For people who look: relay itself reads the tables.
CREATE VIEW relay.deliveries AS
    SELECT intent_id, destination_id, state, attempts, history, next_attempt_at, updated_at,
           last_error, order_key, place, NULL::bigint AS discarded_at
    FROM relay.waiting
    UNION ALL
    SELECT intent_id, destination_id, state, attempts, history, NULL, updated_at,
           last_error, order_key, place, discarded_at
    FROM relay.ended;

CREATE TABLE relay.attempts (
    intent_id      bigint NOT NULL,
    destination_id int NOT NULL,
    entry          int NOT NULL,
    attempt        int NOT NULL,
    started_at     bigint NOT NULL,
    duration_ms    bigint NOT NULL,
    outcome        smallint NOT NULL CHECK (outcome BETWEEN 0 AND 4),
    status_code    int,
    error          bytea,
    response       bytea,
    failure        text,
    address        text,
    resolve_ms     bigint,
    connect_ms     bigint,
    first_byte_ms  bigint,
    next           bytea,
    tls_ms         bigint,
    PRIMARY KEY (intent_id, destination_id, entry)
);

CREATE TABLE relay.made (                       -- additions that were made: one whose answer was lost is made once
    token uuid PRIMARY KEY,
    at    bigint NOT NULL
);
CREATE INDEX made_at ON relay.made (at);

CREATE TABLE relay.jobs (                       -- bulk operations
    id             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    operation      bigint,
    kind           smallint NOT NULL CHECK (kind BETWEEN 0 AND 6),
    destination_id int,
    target_id      int,
    states         bigint NOT NULL,
    source         bytea,
    event_type     bytea,
    reason         bytea,
    ids            text,
    since          bigint NOT NULL,
    until          bigint NOT NULL,
    total          bigint,
    done           bigint NOT NULL DEFAULT 0,
    skipped        bigint NOT NULL DEFAULT 0,
    payload_gone   bigint NOT NULL DEFAULT 0,
    in_flight      bigint NOT NULL DEFAULT 0,
    cursor_at      bigint NOT NULL,
    cursor_intent  bigint NOT NULL,
    cursor_more    bigint NOT NULL,
    pass_done      bigint NOT NULL DEFAULT 0,
    begun_at       bigint,
    look_again_at  bigint,
    look_until     bigint,
    erased_at      bigint,
    nonce          bytea UNIQUE,
    actor          text,
    created_at     bigint NOT NULL,
    ended_at       bigint,
    is_cancelled   boolean NOT NULL DEFAULT false,
    CHECK ((kind IN (2, 5)) = (target_id IS NOT NULL)),
    CHECK (NOT is_cancelled OR ended_at IS NOT NULL)
);
CREATE INDEX open_jobs ON relay.jobs (id) WHERE ended_at IS NULL;
CREATE INDEX ended_jobs ON relay.jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_of ON relay.jobs (destination_id);
CREATE INDEX jobs_together ON relay.jobs (operation);

CREATE TABLE relay.learned_secrets (
    id         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    source     text NOT NULL,
    secret     bytea NOT NULL,
    learned_at bigint NOT NULL,
    UNIQUE (source, secret)
);

CREATE TABLE relay.expected_secrets (
    source text PRIMARY KEY,
    until  bigint NOT NULL
);

CREATE TABLE relay.source_rollups (
    grain      int NOT NULL,
    at         bigint NOT NULL,
    source     text NOT NULL,
    accepted   bigint NOT NULL,
    duplicates bigint NOT NULL,
    refused    bigint NOT NULL,
    PRIMARY KEY (grain, at, source)
);

CREATE TABLE relay.destination_rollups (
    grain       int NOT NULL,
    at          bigint NOT NULL,
    destination text NOT NULL,
    delivered   bigint NOT NULL,
    failed      bigint NOT NULL,
    dead        bigint NOT NULL,
    latency     int8[],                         -- counts by bucket, without the empty ones at the end
    PRIMARY KEY (grain, at, destination)
);

CREATE TABLE relay.alert_states (
    kind    text NOT NULL,
    subject text NOT NULL,
    state   text NOT NULL,
    since   bigint NOT NULL,
    PRIMARY KEY (kind, subject)
);

CREATE TABLE relay.config_state (               -- one row a node, by its name
    node        text PRIMARY KEY,
    attempts    bigint NOT NULL,
    began_at    bigint NOT NULL,
    is_dry_run  boolean NOT NULL,
    generation  bigint NOT NULL,
    fingerprint text NOT NULL,
    report      bytea,
    error       bytea,
    process     bigint NOT NULL,
    on_hangup   smallint NOT NULL CHECK (on_hangup BETWEEN 0 AND 2),
    answers     bigint NOT NULL DEFAULT 0       -- the number of the request, in the node's row
);

CREATE TABLE relay.erasures (
    intent_id bigint PRIMARY KEY,
    at        bigint NOT NULL
);

CREATE TABLE relay.space_samples (
    at   bigint PRIMARY KEY,
    used bigint NOT NULL
);
