-- To version 4: an ad hoc origin knows which API key made it wait, and a destination that has answered
-- is known to be well after a restart.

ALTER TABLE destinations ADD COLUMN owner INTEGER;
ALTER TABLE destinations ADD COLUMN proven_at INTEGER;
ALTER TABLE intents ADD COLUMN event_type TEXT;
ALTER TABLE intents ADD COLUMN query TEXT;

CREATE INDEX owned ON destinations(owner) WHERE owner IS NOT NULL;

CREATE INDEX listed ON deliveries(state, destination_id, intent_id)
WHERE state IN (2, 4) OR (state = 0 AND history > 0);

CREATE TABLE count_changes (
    destination_id INTEGER NOT NULL,
    state          INTEGER NOT NULL,
    change         INTEGER NOT NULL,
    PRIMARY KEY (destination_id, state)
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_jobs ON jobs(ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_of ON jobs(destination_id);

-- Destinations are deleted once no delivery names them. Deliveries lose their reference to them, which
-- would have each deletion look through all deliveries. A constraint is no part of what is stored, so
-- its text is all that changes (https://www.sqlite.org/lang_altertable.html, "Making Other Kinds Of
-- Table Schema Changes"). The indexes above have changed the version of the schema.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(
    sql,
    'INTEGER NOT NULL REFERENCES destinations(id),',
    'INTEGER NOT NULL,'
)
WHERE type = 'table' AND name = 'deliveries';
PRAGMA writable_schema = RESET;
