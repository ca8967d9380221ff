-- To version 4: an ad hoc origin knows which API key made it wait, and a destination that has answered
-- is known to be well after a restart.

ALTER TABLE destinations ADD COLUMN owner INTEGER;
ALTER TABLE destinations ADD COLUMN proven_at INTEGER;

CREATE INDEX owned ON destinations(owner) WHERE owner IS NOT NULL;

CREATE INDEX listed ON deliveries(state, destination_id, intent_id)
WHERE state IN (2, 4) OR (state = 0 AND history > 0);
