//! Counts the acts of a bulk operation that nobody has begun, and shows the first.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::store::bulk::act::Does;
use crate::store::bulk::counting::{CountBudget, MAX_COUNTED};
use crate::store::bulk::decide::Decider;
use crate::store::bulk::foresee::foresee;
use crate::store::bulk::parts::counts;
use crate::store::bulk::reads::BulkReads;
use crate::store::bulk::selection::{Selected, Selection, selection_of};
use crate::store::types::{BulkPreview, Counting, NewBulk, PreviewedDelivery, Routing};

/// Stands for a destination in the preview of an operation on events as such.
const EVENTS: &str = "events";
/// Deliveries that are shown.
const SHOWN: usize = 10;
/// Deliveries found in one read.
const A_PAGE: usize = 1_000;

/// Counts the acts of an operation.
pub fn preview<R: BulkReads>(
    reads: &mut R,
    new: &NewBulk,
    routing: &dyn Routing,
    (now, counting): (Timestamp, Counting),
) -> Result<BulkPreview, R::Error> {
    let target = match &new.target {
        Some(name) => reads.destination_id(name)?,
        None => None,
    };
    let mut found = BulkPreview {
        is_exact: true,
        ..BulkPreview::default()
    };
    if let Some(counted) = counts(reads, new, now, &mut CountBudget::of(counting))? {
        for one in counted {
            let selection = selection_of(new, Some(one.count.id), target, now);
            let missing = SHOWN.saturating_sub(found.first.len());
            if missing > 0 {
                // Skipped ones are among those that are looked at.
                let page = reads.page(&selection, selection.start(), A_PAGE)?;
                let to_do = page.selected.iter().filter(|selected| !selected.is_skipped);
                for selected in to_do.take(missing) {
                    let shown = shown(reads, selected, &one.count.destination)?;
                    found.first.extend(shown);
                }
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
        Some(name) => match reads.destination_id(name)? {
            Some(id) => Some(id),
            None => return Ok(found),
        },
        None => None,
    };
    let selection = selection_of(new, destination, target, now);
    if selection.is_of_waiting() {
        found.in_flight = reads.in_flight(&selection)?;
    }
    read_through(reads, new, &selection, (routing, counting), &mut found)?;
    Ok(found)
}

/// Reads through everything that has no index, up to [`MAX_COUNTED`] matches.
fn read_through<R: BulkReads>(
    reads: &mut R,
    new: &NewBulk,
    selection: &Selection,
    (routing, counting): (&dyn Routing, Counting),
    found: &mut BulkPreview,
) -> Result<(), R::Error> {
    let decider = Decider {
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
        let page = reads.page(selection, cursor, A_PAGE)?;
        for selected in &page.selected {
            if selected.is_skipped {
                found.skipped += 1;
                continue;
            }
            if budget.is_spent() {
                found.is_exact = false;
                break;
            }
            for act in decider.decide(reads, selected)?.acts {
                budget.matches -= 1;
                if foresee(reads, &act)?.payload_gone > 0 {
                    continue;
                }
                let destination = match act.does {
                    Does::Create { to, .. } | Does::Move { to, .. } => to,
                    Does::Erase { .. } => EVENTS.to_owned(),
                    Does::Change { destination, .. } => {
                        reads.destination_name(destination)?.unwrap_or_default()
                    }
                };
                if found.first.len() < SHOWN {
                    found.first.extend(shown(reads, selected, &destination)?);
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

/// A selected delivery as it is shown; none if its intent was deleted meanwhile.
fn shown<R: BulkReads>(
    reads: &mut R,
    selected: &Selected,
    destination: &str,
) -> Result<Option<PreviewedDelivery>, R::Error> {
    let origin = reads.origin_of(selected.intent)?;
    Ok(origin.map(|origin| PreviewedDelivery {
        id: origin.id,
        surface: origin.surface,
        destination: destination.to_owned(),
        state: selected.destination.map(|_| selected.state),
        created_at: origin.created_at,
    }))
}
