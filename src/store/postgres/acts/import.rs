//! Events from elsewhere.

use std::collections::HashMap;

use super::inserting::{Columns, statement};
use super::making::locks::{LOCK_DESTINATIONS, POKE};
use crate::store::error::StoreError;
use crate::store::limits::{MAX_BATCH_BYTES, MAX_ROWS};
use crate::store::postgres::acts::destination;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::turn::change::IN_USE;
use crate::store::row_budget::RowBudget;
use crate::store::types::{DestinationId, ImportTally, ImportedEvent, OwnerId};

/// How many of the events, from the first on, one transaction takes.
fn step_of(events: &[ImportedEvent]) -> usize {
    let (mut budget, mut bytes) = (RowBudget::of(MAX_ROWS), 0);
    let fit = events.iter().enumerate().take_while(|(at, event)| {
        let size = event.size();
        bytes += size.1;
        budget.spend(size.0) && (*at == 0 || bytes <= MAX_BATCH_BYTES)
    });
    fit.count()
}

/// Imports some events in one transaction; again those whose ad hoc origin was forgotten before it.
fn import(
    sql: &mut Connection,
    events: &[ImportedEvent],
    keeps_pending: bool,
) -> Result<ImportTally, Failure> {
    let (mut rest, mut tally) = (events.iter().collect::<Vec<_>>(), ImportTally::default());
    while !rest.is_empty() {
        let known = destinations_of(sql, &rest)?;
        rest = insert(sql, &rest, known, keeps_pending, &mut tally)?;
    }
    Ok(tally)
}

/// The destinations of events by name; missing ones are made.
fn destinations_of<'a>(
    sql: &mut Connection,
    events: &[&'a ImportedEvent],
) -> Result<HashMap<&'a str, DestinationId>, Failure> {
    let mut known: HashMap<&str, DestinationId> = HashMap::new();
    for delivery in events.iter().flat_map(|event| &event.record.deliveries) {
        if !known.contains_key(delivery.destination.as_str()) {
            let owner = delivery.owner.map(OwnerId);
            let id = destination::ensure_of(sql, &delivery.destination, owner)?;
            known.insert(&delivery.destination, id);
        }
    }
    Ok(known)
}

/// Inserts events in one transaction. Returns those of which a destination isn't there any more.
fn insert<'a>(
    sql: &mut Connection,
    events: &[&'a ImportedEvent],
    known: HashMap<&str, DestinationId>,
    keeps_pending: bool,
    tally: &mut ImportTally,
) -> Result<Vec<&'a ImportedEvent>, Failure> {
    let columns: Vec<(Columns<'_>, usize)> = events
        .iter()
        .map(|event| {
            let names = event.record.deliveries.iter();
            let ids = names.map(|one| known[one.destination.as_str()]);
            Columns::of(event, &ids.collect::<Vec<_>>(), keeps_pending)
        })
        .collect();
    let all: Vec<DestinationId> = known.into_values().collect();
    let (text, destinations): (String, [Param<'_>; 1]) = (statement(), [&all]);
    let bound: Vec<Vec<Param<'_>>> = columns.iter().map(|(one, _)| one.bound()).collect();
    // Deliveries come in that have ended: a pass over unused origins may have missed those.
    let mut calls: Vec<(&str, &[Param<'_>])> =
        vec![(LOCK_DESTINATIONS, &destinations), (IN_USE, &destinations)];
    calls.extend(
        bound
            .iter()
            .map(|params| (text.as_str(), params.as_slice())),
    );
    calls.push((POKE, &destinations));
    let answers = sql.transaction(&calls)?;
    let mut without_destination = Vec::new();
    for ((event, (_, given_up)), rows) in events.iter().zip(&columns).zip(&answers[2..]) {
        let Some(row) = rows.first() else {
            return Err(Failure::unexpected("an event without an answer".to_owned()));
        };
        let random: Option<i64> = row.try_get(1)?;
        if row.try_get(0)? {
            tally.imported += 1;
            tally.given_up += given_up;
        } else if random == Some(event.id.random()) {
            tally.skipped += 1;
        } else if random.is_none() {
            without_destination.push(*event);
        } else {
            // Relays number the rows of each millisecond alike: this one is another relay's.
            tally.taken += 1;
            tally.first_taken.get_or_insert_with(|| event.public_id());
        }
    }
    Ok(without_destination)
}

impl Operator {
    /// Imports events, unless their ids are there. Without `keeps_pending` the deliveries that
    /// waited become dead letters, so that nothing is due.
    pub fn import(
        &mut self,
        events: Vec<ImportedEvent>,
        keeps_pending: bool,
    ) -> Result<ImportTally, StoreError> {
        let (mut rest, mut tally) = (events.as_slice(), ImportTally::default());
        while !rest.is_empty() {
            let (step, others) = rest.split_at(step_of(rest));
            tally += self.change(|sql| import(sql, step, keeps_pending))?;
            rest = others;
        }
        Ok(tally)
    }
}

#[cfg(test)]
mod tests;
