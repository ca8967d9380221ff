-- To version 5: deliveries of one ordering key stand in a line, a dead letter can be discarded
-- without being deleted, and an event that no route wants is kept. No row changes.

ALTER TABLE deliveries ADD COLUMN order_key INTEGER;
ALTER TABLE deliveries ADD COLUMN place INTEGER;
ALTER TABLE deliveries ADD COLUMN discarded_at INTEGER;
ALTER TABLE intents ADD COLUMN unrouted INTEGER;

CREATE INDEX line ON deliveries(destination_id, order_key, place) WHERE place IS NOT NULL;
CREATE INDEX unrouted ON intents(id) WHERE unrouted = 1;
