//! States of alerts, and their events.

use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::connection::{Call, Connection};
use crate::store::postgres::destinations::Named;
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::keys::{ErasedKeys, next_row};
use crate::store::postgres::shared::Shared;
use crate::store::postgres::told::tell;
use crate::store::postgres::writer::{PendingAccept, Rows};
use crate::store::types::{Accept, PayloadDigest, RaiseAlerts};

/// Writes states while this node lives, and while each is the one that was known ($6). Another node
/// that has taken this one over tells by itself, and a change whose answer was lost may be there by
/// now: a division by zero undoes the transaction then, events included. Values depend on the
/// counts, or they would not be asked for.
const SET_STATES: &str = "
    WITH input AS MATERIALIZED (
        SELECT t.* FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $6::int8[])
            AS t(kind, subject, state, since, before)
    ), changed AS (
        INSERT INTO relay.alert_states AS s (kind, subject, state, since)
        SELECT t.kind, t.subject, t.state, t.since / fence.lives
        FROM input t, (SELECT count(*) AS lives FROM
                (SELECT 1 FROM relay.nodes WHERE epoch = $5 FOR KEY SHARE) n) fence
        ORDER BY t.kind, t.subject
        ON CONFLICT (kind, subject) DO UPDATE SET state = excluded.state, since = excluded.since
            WHERE (s.state, s.since) = (excluded.state, excluded.since)
               OR s.since = (SELECT t.before FROM input t
                             WHERE t.kind = excluded.kind AND t.subject = excluded.subject)
        RETURNING 1
    )
    SELECT 1 / (count(*) = cardinality($1::text[]))::int FROM changed";

const FORGET_STATES: &str = "
    DELETE FROM relay.alert_states s USING unnest($1::text[], $2::text[]) AS t(kind, subject)
    WHERE s.kind = t.kind AND s.subject = t.subject";

/// The SQLSTATE of the division by zero.
const UNDONE: &str = "22012";

/// How often alerts get new ids, since the writer took theirs at the same time.
const ROUNDS: usize = 8;

/// The columns of the states.
struct States<'a> {
    kinds: Vec<&'a str>,
    subjects: Vec<&'a str>,
    names: Vec<&'a str>,
    since: Vec<Timestamp>,
    before: Vec<Option<Timestamp>>,
    epoch: i64,
}

impl<'a> States<'a> {
    fn of(alerts: &'a RaiseAlerts, epoch: i64) -> Self {
        let before = alerts.changes.iter().map(|one| one.before);
        let states = alerts.changes.iter().map(|one| &one.state);
        Self {
            kinds: states.clone().map(|one| one.kind.as_str()).collect(),
            subjects: states.clone().map(|one| one.subject.as_str()).collect(),
            names: states.clone().map(|one| one.state.as_str()).collect(),
            since: states.map(|one| one.since).collect(),
            before: before.collect(),
            epoch,
        }
    }
}

/// An event of an alert, with its id. Nobody waits for its outcome.
fn pending(intent: Accept, id: IntentId) -> PendingAccept {
    let digest = PayloadDigest::of(&intent.headers, &intent.body);
    let (waiter, _) = oneshot::channel();
    let mut pending = PendingAccept::new(intent, digest, &ErasedKeys::default(), waiter);
    pending.id = Some(id);
    pending
}

/// Gives the events ids. The writer gives ids beside it: one that is taken is refused.
fn assign(events: &mut [PendingAccept], last: &mut i64, now: Timestamp, slot: i16) {
    for event in events {
        *last = next_row(*last, now.as_millis(), slot);
        event.id = Some(IntentId::new(*last, rand::random()));
    }
}

/// Writes states and events in one transaction. `is_again`: the answer to an earlier try was lost.
fn raise(
    sql: &mut Connection,
    shared: &Shared,
    states: &States<'_>,
    events: &mut [PendingAccept],
    is_again: bool,
) -> Result<(), Failure> {
    let set: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &states.kinds,
        &states.subjects,
        &states.names,
        &states.since,
        &states.epoch,
        &states.before,
    ];
    let set: Call<'_> = (SET_STATES, set);
    if events.is_empty() {
        return sql.execute(set.0, set.1).map(|_| ());
    }
    let (now, slot) = (shared.clock.now(), shared.node.slot());
    let mut last = 0;
    for round in 0..ROUNDS {
        let named: Vec<Named<'_>> = events
            .iter()
            .flat_map(|event| event.intent.destinations.iter())
            .map(|name| (name.as_str(), None))
            .collect();
        shared.destinations.meet(sql, &named)?;
        let mut rows = Rows::new(now);
        for event in events.iter() {
            rows.add(event, |name| shared.destinations.get(name));
        }
        if is_again && round == 0 && rows.committed(sql)?.is_some() {
            return Ok(());
        }
        match rows.insert_after(set, sql) {
            // By an earlier try that was committed since, or by somebody else.
            Err(failure) if failure.class() == Class::Duplicate => {
                if rows.committed(sql)?.is_some() {
                    return Ok(());
                }
            }
            Err(failure) => return Err(failure),
            Ok(()) => {
                // The alerts are durable, whether somebody hears of them or not.
                let _ = tell(sql, &shared.of_others(&named));
                return Ok(());
            }
        }
        drop(rows);
        assign(events, &mut last, now, slot);
    }
    Err(Failure::unexpected(
        "the ids of alerts were taken again and again".to_owned(),
    ))
}

/// The same failure in words, if [`SET_STATES`] has undone its transaction.
fn explained(failure: Failure) -> Failure {
    if failure.code() == Some(UNDONE) {
        return Failure::unexpected("the states of alerts were changed meanwhile".to_owned());
    }
    failure
}

impl Postgres {
    /// Writes states of alerts, with the events that tell of them. Blocks.
    pub fn raise_alerts(&self, mut alerts: RaiseAlerts) -> Result<(), StoreError> {
        let shared = self.shared();
        let now = shared.clock.now();
        let mut last = 0;
        let mut events = Vec::new();
        for event in std::mem::take(&mut alerts.events) {
            last = next_row(last, now.as_millis(), shared.node.slot());
            events.push(pending(event, IntentId::new(last, rand::random())));
        }
        let states = States::of(&alerts, shared.node.epoch());
        let mut is_again = false;
        self.change(|sql| {
            let is_again = std::mem::replace(&mut is_again, true);
            raise(sql, shared, &states, &mut events, is_again).map_err(explained)
        })?;
        let names = events.iter().flat_map(|event| &*event.intent.destinations);
        let known = names.filter_map(|name| shared.destinations.get(name));
        let due: Vec<_> = known.map(|known| known.id).collect();
        if !due.is_empty() {
            (shared.on_work)(&due);
        }
        Ok(())
    }

    /// Forgets states of alerts, by kind and subject. Blocks.
    pub fn forget_alerts(&self, states: Vec<(String, String)>) -> Result<(), StoreError> {
        let (kinds, subjects): (Vec<_>, Vec<_>) = states.into_iter().unzip();
        self.change(|sql| sql.execute(FORGET_STATES, &[&kinds, &subjects]))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
