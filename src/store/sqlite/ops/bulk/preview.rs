//! Counts the acts of a bulk operation that nobody has begun, and shows the first.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::model::Surface;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::intent_id;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::act::Does;
use crate::store::sqlite::ops::bulk::decide::Decider;
use crate::store::sqlite::ops::foresee::foresee;
use crate::store::sqlite::queries::{
    CountBudget, MAX_COUNTED, Selected, Selection, counts, destination_id, selection_of,
};
use crate::store::types::{
    BulkPreview, Counting, DestinationId, IntentRow, NewBulk, PreviewedDelivery, Routing,
};

/// Stands for a destination in the preview of an operation on events as such.
const EVENTS: &str = "events";
/// Deliveries that are shown.
const SHOWN: usize = 10;
/// Deliveries found in one read.
const A_PAGE: usize = 1_000;

/// Counts the acts of an operation.
fn preview(
    sql: &Connection,
    new: &NewBulk,
    routing: &dyn Routing,
    (now, counting): (Timestamp, Counting),
) -> Result<BulkPreview, StoreError> {
    let target = match &new.target {
        Some(name) => destination_id(sql, name)?,
        None => None,
    };
    let mut found = BulkPreview {
        is_exact: true,
        ..BulkPreview::default()
    };
    if let Some(counted) = counts(sql, new, now, &mut CountBudget::of(counting))? {
        for one in counted {
            let selection = selection_of(new, Some(one.count.id), target, now);
            let missing = SHOWN.saturating_sub(found.first.len());
            // Skipped ones are among those that are looked at.
            let page = selection.page(sql, selection.start(), A_PAGE.min(missing * A_PAGE))?;
            let to_do = page.selected.iter().filter(|selected| !selected.is_skipped);
            for selected in to_do.take(missing) {
                found
                    .first
                    .push(shown(sql, selected, &one.count.destination)?);
            }
            found.skipped += one.skipped;
            found.in_flight += one.in_flight;
            found.is_exact &= one.is_exact;
            if one.count.count > 0 {
                found.counts.push((one.count.destination, one.count.count));
            }
        }
        return Ok(found);
    }
    let destination = match &new.filter.destination {
        Some(name) => match destination_id(sql, name)? {
            Some(id) => Some(id),
            None => return Ok(found),
        },
        None => None,
    };
    let selection = selection_of(new, destination, target, now);
    if selection.is_of_waiting() {
        found.in_flight = selection.in_flight(sql)?;
    }
    read_through(sql, new, &selection, (routing, counting), &mut found)?;
    Ok(found)
}

/// Reads through everything that has no index, up to [`MAX_COUNTED`] matches.
fn read_through(
    sql: &Connection,
    new: &NewBulk,
    selection: &Selection,
    (routing, counting): (&dyn Routing, Counting),
    found: &mut BulkPreview,
) -> Result<(), StoreError> {
    let decider = Decider {
        sql,
        routing,
        selection,
        target: new.target.as_deref(),
        has_attempts: true,
    };
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let mut budget = CountBudget::of(counting);
    budget.matches = MAX_COUNTED;
    let mut cursor = selection.start();
    loop {
        let page = selection.page(sql, cursor, A_PAGE)?;
        for selected in &page.selected {
            if selected.is_skipped {
                found.skipped += 1;
                continue;
            }
            if budget.is_spent() {
                found.is_exact = false;
                break;
            }
            for act in decider.decide(selected)?.acts {
                budget.matches -= 1;
                if foresee(sql, &act)?.payload_gone > 0 {
                    continue;
                }
                let destination = match act.does {
                    Does::Create { to, .. } | Does::Move { to, .. } => to,
                    Does::Erase { .. } => EVENTS.to_owned(),
                    Does::Change { destination, .. } => name_of(sql, destination)?,
                };
                if found.first.len() < SHOWN {
                    found.first.push(shown(sql, selected, &destination)?);
                }
                *counts.entry(destination).or_default() += 1;
            }
        }
        cursor = page.end;
        budget.looks -= i64::try_from(page.looked).unwrap_or(i64::MAX);
        if page.is_last || budget.is_spent() {
            found.is_exact &= page.is_last;
            break;
        }
    }
    found.counts = counts.into_iter().collect();
    Ok(())
}

fn name_of(sql: &Connection, id: DestinationId) -> Result<String, StoreError> {
    Ok(sql
        .prepare_cached("SELECT name FROM destinations WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?)
}

fn shown(
    sql: &Connection,
    selected: &Selected,
    destination: &str,
) -> Result<PreviewedDelivery, StoreError> {
    let IntentRow(row) = selected.intent;
    let (id, surface, created_at) = sql
        .prepare_cached("SELECT id, random, surface, created_at FROM intents WHERE id = ?1")?
        .query_row(params![row], |row| {
            let surface = Surface::from_number(row.get(2)?);
            Ok((intent_id(row, 0)?, surface, row.get(3)?))
        })?;
    Ok(PreviewedDelivery {
        id,
        surface,
        destination: destination.to_owned(),
        state: selected.destination.map(|_| selected.state),
        created_at,
    })
}

impl Operator {
    /// Counts the acts of a bulk operation, and shows the first.
    pub fn preview_bulk(
        &self,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<BulkPreview, StoreError> {
        let now = self.now();
        self.read(|sql| {
            // One snapshot, so that each delivery found exists when it is read.
            let snapshot = sql.unchecked_transaction()?;
            preview(&snapshot, new, routing, (now, Counting::Indexed))
        })
    }
}

impl Sqlite {
    /// Counts the acts of an operation up to a bound, and shows the first.
    pub async fn preview_operation(
        &self,
        new: NewBulk,
        routing: impl Routing + Send + 'static,
    ) -> Result<BulkPreview, StoreError> {
        let now = self.shared().clock.now();
        self.read(move |sql| {
            let snapshot = sql.unchecked_transaction()?;
            preview(&snapshot, &new, &routing, (now, Counting::Bounded))
        })
        .await
    }
}
