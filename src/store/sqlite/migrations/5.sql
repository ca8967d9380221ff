-- To version 5: deliveries of one ordering key stand in a line, a dead letter can be discarded
-- without being deleted, an event that no route wants is kept, and sources learn secrets. No row
-- changes.

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
