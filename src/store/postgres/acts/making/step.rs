//! The acts of a step, in one transaction.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::again::{INPUT, REPLAY, RETRY};
use super::discard::{DELETE_PAYLOADS, DISCARD};
use super::elsewhere::{CREATE, MOVE};
use super::erase::ERASE;
use super::frame::{Frame, JobStep, NO_ACTS, statement};
use super::locks::{
    ADVANCE_LINES_OF, LOCK_DESTINATIONS, LOCK_DESTINATIONS_OF, LOCK_INTENTS, LOCK_JOB, POKE,
    POKE_OF,
};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, FailureKind, OrderKey};
use crate::store::bulk::{Act, Does, wording};
use crate::store::postgres::acts::destination;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::text::Text;
use crate::store::types::{BulkAction, BulkTally, DestinationId, IntentRow};

/// The acts of a step, as they were made.
#[derive(Debug, Default)]
pub struct Made {
    /// False if another node has advanced or ended the operation since the step was planned: then
    /// nothing was made.
    pub is_valid: bool,
    pub tally: BulkTally,
    /// The event whose attempt is waited for.
    pub stopped_at: Option<IntentRow>,
    /// Destinations of deliveries that became dead letters.
    pub dead: Vec<DestinationId>,
    /// Destinations for which something may have become due.
    pub due: Vec<DestinationId>,
    /// Deliveries that the operation has acted on in this pass, and until when it looks for more.
    pub pass_done: i64,
    pub look_until: Option<Timestamp>,
}

/// Makes acts of one kind, and records the progress of their operation.
pub fn make(
    sql: &mut Connection,
    acts: &[Act],
    job: Option<JobStep>,
    (now, is_operators): (Timestamp, bool),
) -> Result<Made, Failure> {
    let frame = Frame::new(job, now, is_operators);
    let maker = Maker {
        acts,
        job,
        frame: &frame,
        at: (now, is_operators),
    };
    match acts.first().map(|act| &act.does) {
        None => maker.run(sql, &[], NO_ACTS, &[], &[]),
        Some(Does::Change { action, .. }) => maker.change(sql, *action),
        Some(Does::Erase { waits }) => maker.erase(sql, *waits),
        Some(Does::Create { .. }) => maker.create(sql),
        Some(Does::Move { to, .. }) => maker.reroute(sql, to),
    }
}

struct Maker<'a> {
    acts: &'a [Act],
    job: Option<JobStep>,
    frame: &'a Frame,
    at: (Timestamp, bool),
}

type Call<'a> = (&'a str, Vec<Param<'a>>);

impl Maker<'_> {
    fn intents(&self) -> Vec<IntentRow> {
        self.acts.iter().map(|act| act.intent).collect()
    }

    /// Replays, retries or discards.
    fn change(&self, sql: &mut Connection, action: BulkAction) -> Result<Made, Failure> {
        let intents = self.intents();
        let (mut destinations, mut states, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for act in self.acts {
            if let Does::Change {
                destination,
                state,
                updated_at,
                ..
            } = &act.does
            {
                destinations.push(*destination);
                states.push(*state);
                times.push(*updated_at);
            }
        }
        let states: &Vec<DeliveryState> = &states;
        let mut own: Vec<Param<'_>> = vec![&intents, &destinations, states, &times];
        let lock = (LOCK_DESTINATIONS, vec![&destinations as Param<'_>]);
        let poke = (POKE, vec![&destinations as Param<'_>]);
        let [first, second, third, fourth] = match action {
            BulkAction::Discard => [
                wording::DISCARDED_BEFORE,
                wording::NEVER_ATTEMPTED,
                wording::DISCARDED,
                wording::GIVEN_UP,
            ],
            BulkAction::Retry => [wording::RETRIED.0, wording::RETRIED.1, "", ""],
            _ => [wording::REPLAYED_DELIVERED, wording::REPLAYED_DEAD, "", ""],
        }
        .map(Text::from);
        own.extend([&first as Param<'_>, &second]);
        let intents_first = [(LOCK_INTENTS, vec![&intents as Param<'_>]), lock];
        let mut made = if action == BulkAction::Discard {
            own.extend([&third as Param<'_>, &fourth]);
            let (now, is_operators) = &self.at;
            let behind = [
                (
                    ADVANCE_LINES_OF,
                    vec![&intents as Param<'_>, now, is_operators],
                ),
                (DELETE_PAYLOADS, vec![&intents]),
                poke,
            ];
            let acting = format!("{INPUT},{DISCARD}");
            self.run(sql, &intents_first, &acting, &own, &behind)?
        } else {
            // The payload of an event that waits stays; the others may be shed meanwhile.
            let (before, acting) = if action == BulkAction::Retry {
                (&intents_first[1..], RETRY)
            } else {
                (&intents_first[..], REPLAY)
            };
            self.run(sql, before, &format!("{INPUT},{acting}"), &own, &[poke])?
        };
        if action != BulkAction::Discard && made.tally.done > 0 {
            made.due = destinations;
        }
        Ok(made)
    }

    fn erase(&self, sql: &mut Connection, waits: bool) -> Result<Made, Failure> {
        let intents = self.intents();
        let texts = [
            wording::REASON_ERASED,
            wording::DISCARDED_REASON_ERASED,
            wording::ERASED,
            wording::NOTHING_TO_SEND,
        ]
        .map(Text::from);
        let kind = FailureKind::PayloadErased.name();
        let mut own: Vec<Param<'_>> = vec![&intents, &waits];
        own.extend(texts.iter().map(|text| -> Param<'_> { text }));
        own.push(&kind);
        let (now, is_operators) = &self.at;
        let before = [
            (LOCK_INTENTS, vec![&intents as Param<'_>]),
            (LOCK_DESTINATIONS_OF, vec![&intents as Param<'_>]),
        ];
        let behind = [
            (
                ADVANCE_LINES_OF,
                vec![&intents as Param<'_>, now, is_operators],
            ),
            (POKE_OF, vec![&intents as Param<'_>]),
        ];
        self.run(sql, &before, ERASE, &own, &behind)
    }

    /// Creates deliveries. Their destinations are created before, on their own.
    fn create(&self, sql: &mut Connection) -> Result<Made, Failure> {
        let intents = self.intents();
        let mut known: HashMap<&str, DestinationId> = HashMap::new();
        let (mut destinations, mut keys) = (Vec::new(), Vec::new());
        for act in self.acts {
            let Does::Create { to, key } = &act.does else {
                continue;
            };
            let id = match known.get(to.as_str()) {
                Some(id) => *id,
                None => destination::ensure(sql, to)?,
            };
            known.insert(to, id);
            destinations.push(id);
            keys.push(*key);
        }
        let keys: &Vec<Option<OrderKey>> = &keys;
        let next = Text::from(wording::SENT_HERE);
        let own: [Param<'_>; 4] = [&intents, &destinations, keys, &next];
        let before = [
            (LOCK_INTENTS, vec![&intents as Param<'_>]),
            (LOCK_DESTINATIONS, vec![&destinations as Param<'_>]),
        ];
        let poke = [(POKE, vec![&destinations as Param<'_>])];
        let mut made = self.run(sql, &before, CREATE, &own, &poke)?;
        if made.tally.done > 0 {
            made.due = destinations;
        }
        Ok(made)
    }

    /// Moves deliveries to one destination.
    fn reroute(&self, sql: &mut Connection, to: &str) -> Result<Made, Failure> {
        let intents = self.intents();
        let (mut from, mut keys) = (Vec::new(), Vec::new());
        for act in self.acts {
            if let Does::Move { from: old, key, .. } = &act.does {
                from.push(*old);
                keys.push(*key);
            }
        }
        let to = destination::ensure(sql, to)?;
        let keys: &Vec<Option<OrderKey>> = &keys;
        let next = Text::from(wording::REROUTED_FROM);
        let own: [Param<'_>; 5] = [&intents, &from, &to, keys, &next];
        let mut all = from.clone();
        all.push(to);
        let before = [(LOCK_DESTINATIONS, vec![&all as Param<'_>])];
        let poke = [(POKE, vec![&all as Param<'_>])];
        let mut made = self.run(sql, &before, MOVE, &own, &poke)?;
        if made.tally.done > 0 {
            made.due = all;
        }
        Ok(made)
    }

    /// Runs the locks, the acts and what follows from them in one transaction.
    fn run(
        &self,
        sql: &mut Connection,
        before: &[Call<'_>],
        acting: &str,
        own: &[Param<'_>],
        behind: &[Call<'_>],
    ) -> Result<Made, Failure> {
        let text = statement(acting);
        let mut bound = self.frame.bound();
        bound.extend_from_slice(own);
        let job = self.job.map(|job| job.id);
        let locked_job: [Param<'_>; 1] = [&job];
        let mut calls: Vec<(&str, &[Param<'_>])> = Vec::new();
        if job.is_some() {
            calls.push((LOCK_JOB, &locked_job));
        }
        calls.extend(before.iter().map(|(sql, params)| (*sql, params.as_slice())));
        let at = calls.len();
        calls.push((&text, &bound));
        calls.extend(behind.iter().map(|(sql, params)| (*sql, params.as_slice())));
        let answers = sql.transaction(&calls)?;
        let mut made = read(&answers[at])?;
        for ((sql, _), rows) in calls.iter().zip(&answers) {
            if *sql == ADVANCE_LINES_OF {
                for row in rows {
                    made.due.push(row.try_get(0)?);
                }
            }
        }
        Ok(made)
    }
}

fn read(rows: &[Row]) -> Result<Made, Failure> {
    let Some(row) = rows.first() else {
        return Err(Failure::unexpected("acts without a tally".to_owned()));
    };
    let dead: Option<Vec<DestinationId>> = row.try_get(6)?;
    let pass_done: Option<i64> = row.try_get(7)?;
    Ok(Made {
        is_valid: row.try_get(0)?,
        tally: BulkTally {
            done: row.try_get(1)?,
            skipped: row.try_get(2)?,
            payload_gone: row.try_get(3)?,
            in_flight: row.try_get(4)?,
        },
        stopped_at: row.try_get(5)?,
        dead: dead.unwrap_or_default(),
        due: Vec::new(),
        pass_done: pass_done.unwrap_or(0),
        look_until: row.try_get(8)?,
    })
}
