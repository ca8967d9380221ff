-- To version 3: idempotency keys are moved in sweeps. Until now each came to its table at once.

CREATE TABLE key_sweep (
    swept_to INTEGER NOT NULL
) STRICT;

INSERT INTO key_sweep SELECT coalesce(max(id), 0) FROM intents;
