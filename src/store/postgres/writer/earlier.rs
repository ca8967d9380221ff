//! Earlier intents that keys name.

use std::time::Duration;

use super::pending::{Answer, PendingAccept};
use crate::clock::Timestamp;
use crate::model::IntentId;
use crate::store::postgres::columns::intent_id;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::keys::KeyDigest;
use crate::store::types::{Accepted, Duplicate, IntentRow};

/// The shortest time between two replays of an event by its sender.
const REPLAY_EVERY: Duration = Duration::from_secs(60);

/// The intents that keys name. A body is compared only here, and read only if it is as long. One
/// that was discarded, erased or shed has no body left to differ from.
const EARLIER: &str = "
SELECT t.number, i.id, i.random, i.request_digest, k.created_at,
    CASE WHEN octet_length(i.body) = octet_length(t.body) THEN i.body = t.body
         ELSE octet_length(i.body) = 0 AND (i.gone IS NOT NULL
             OR EXISTS (SELECT 1 FROM relay.ended e
                        WHERE e.intent_id = i.id AND e.discarded_at IS NOT NULL)) END
FROM unnest($1::int4[], $2::uuid[], $3::bytea[]) AS t(number, digest, body)
CROSS JOIN LATERAL (SELECT * FROM relay.idempotency x WHERE x.digest = t.digest OFFSET 0) AS k
CROSS JOIN LATERAL (SELECT * FROM relay.intents x WHERE x.id = k.intent_id OFFSET 0) AS i";

/// Whether all deliveries of an event are dead-lettered, its payload is there, and none was
/// replayed (an outcome of 4) since a time.
const IS_DEAD: &str = "
SELECT 1 FROM relay.intents i
WHERE i.id = $1 AND i.gone IS NULL
  AND NOT EXISTS (SELECT 1 FROM relay.waiting w WHERE w.intent_id = ANY(ARRAY[i.id]))
  AND EXISTS (SELECT 1 FROM relay.ended e WHERE e.intent_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM relay.ended e WHERE e.intent_id = i.id AND e.state <> 4)
  AND NOT EXISTS (SELECT 1 FROM relay.attempts a
                  WHERE a.intent_id = i.id AND a.outcome = 4 AND a.started_at > $2)";

/// The outcomes of intents whose keys were taken, each with its index in the batch. Those whose key
/// is free again have none.
pub fn earlier(
    sql: &mut Connection,
    batch: &[PendingAccept],
    taken: &[usize],
    now: Timestamp,
) -> Result<Vec<(usize, Answer)>, Failure> {
    let numbers: Vec<i32> = (0..).take(taken.len()).collect();
    let digests: Vec<Option<KeyDigest>> = taken.iter().map(|&at| batch[at].key).collect();
    let bodies: Vec<&[u8]> = taken.iter().map(|&at| &batch[at].intent.body[..]).collect();
    let rows = sql.rows(EARLIER, &[&numbers, &digests, &bodies])?;
    let mut answers = Vec::new();
    for row in rows {
        let number: i32 = row.try_get(0)?;
        let number = usize::try_from(number).expect("it was counted from zero");
        let at = taken[number];
        let pending = &batch[at];
        let id = intent_id(&row, 1)?;
        let created_at: Timestamp = row.try_get(4)?;
        if pending.id == Some(id) {
            // Its commit was not known.
            answers.push((at, Accepted::New(id, created_at).into()));
            continue;
        }
        if created_at.plus(pending.intent.window) <= now {
            continue;
        }
        let request_digest: Option<&[u8]> = row.try_get(3)?;
        let is_same_body: bool = row.try_get(5)?;
        answers.push((at, answer(pending, id, request_digest, is_same_body)));
    }
    for (_, answer) in answers.iter_mut().filter(|(_, answer)| answer.wants_replay) {
        if let Accepted::Duplicate(duplicate) = &answer.accepted {
            let row = IntentRow::of(duplicate.id);
            let since = now.minus(REPLAY_EVERY);
            answer.wants_replay = sql.first(IS_DEAD, &[&row, &since])?.is_some();
        }
    }
    Ok(answers)
}

fn answer(
    pending: &PendingAccept,
    id: IntentId,
    request_digest: Option<&[u8]>,
    is_same_body: bool,
) -> Answer {
    let key = pending.intent.key.as_ref();
    let own_digest = key.and_then(|key| key.request_digest.as_ref());
    if request_digest != own_digest.map(|digest| &digest[..]) {
        return Accepted::Conflict.into();
    }
    let is_same_body = is_same_body || own_digest.is_some();
    Answer {
        accepted: Accepted::Duplicate(Duplicate {
            id,
            is_same_body,
            replayed: 0,
        }),
        wants_replay: is_same_body && key.is_some_and(|key| key.replays_dead),
    }
}
