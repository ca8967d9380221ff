-- To version 2: circuit breakers that survive a restart, what an attempt spent its time on and what
-- followed from it, and bulk operations on dead letters.

ALTER TABLE destinations ADD COLUMN probe_wait INTEGER;
ALTER TABLE destinations ADD COLUMN probe_at INTEGER CHECK ((probe_at IS NULL) = (probe_wait IS NULL));

ALTER TABLE attempts ADD COLUMN failure TEXT;
ALTER TABLE attempts ADD COLUMN address TEXT;
ALTER TABLE attempts ADD COLUMN resolve_ms INTEGER;
ALTER TABLE attempts ADD COLUMN connect_ms INTEGER;
ALTER TABLE attempts ADD COLUMN first_byte_ms INTEGER;
ALTER TABLE attempts ADD COLUMN next TEXT;

CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    kind           INTEGER NOT NULL,
    destination_id INTEGER NOT NULL REFERENCES destinations(id),
    source         TEXT,
    reason         TEXT,
    since          INTEGER NOT NULL,
    until          INTEGER NOT NULL,
    total          INTEGER NOT NULL,
    done           INTEGER NOT NULL DEFAULT 0,
    cursor_at      INTEGER NOT NULL,
    cursor_intent  INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    is_cancelled   INTEGER NOT NULL DEFAULT 0,
    CHECK (kind IN (0, 1)),
    CHECK (is_cancelled IN (0, 1)),
    CHECK (is_cancelled = 0 OR ended_at IS NOT NULL)
) STRICT;

CREATE INDEX open_jobs ON jobs(id) WHERE ended_at IS NULL;
