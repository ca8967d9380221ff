//! The operations that a request makes.

use crate::clock::Timestamp;
use crate::store::bulk::counting::{CountBudget, SelectionCount};
use crate::store::bulk::reads::BulkReads;
use crate::store::bulk::selection::{Access, selection_of};
use crate::store::types::{BulkCount, BulkPart, Counting, DestinationId, NewBulk};

/// The deliveries of a destination that an operation would act on.
#[derive(Debug)]
pub struct Counted {
    pub count: BulkCount,
    pub skipped: i64,
    pub in_flight: i64,
    /// Whether there are no more than these.
    pub is_exact: bool,
}

/// The destinations with deliveries that an operation selects, counted in the partial indexes. None
/// if there is no index for them: then one operation reads through all of them.
pub fn counts<R: BulkReads>(
    reads: &mut R,
    new: &NewBulk,
    now: Timestamp,
    budget: &mut CountBudget,
) -> Result<Option<Vec<Counted>>, R::Error> {
    let any = selection_of(new, Some(DestinationId::default()), None, now);
    let access = any.access();
    if !matches!(access, Access::Dead | Access::Waiting) {
        return Ok(None);
    }
    let target = match &new.target {
        Some(name) => reads.destination_id(name)?,
        None => None,
    };
    let named = new.filter.destination.as_deref();
    let mut found = Vec::new();
    for (id, destination) in reads.destinations_with(access, named)? {
        let selection = selection_of(new, Some(id), target, now);
        let SelectionCount {
            found: count,
            skipped,
            is_exact,
        } = reads.count(&selection, budget)?;
        let in_flight = match access {
            Access::Waiting => reads.in_flight(&selection)?,
            _ => 0,
        };
        if count + skipped + in_flight > 0 || !is_exact {
            found.push(Counted {
                count: BulkCount {
                    id,
                    destination,
                    count,
                },
                skipped,
                in_flight,
                is_exact,
            });
        }
    }
    Ok(Some(found))
}

/// The operations to create: one for each destination with deliveries that are selected, so that
/// none waits for another; or one for all of them.
pub fn parts_of<R: BulkReads>(
    reads: &mut R,
    new: &NewBulk,
    now: Timestamp,
    counting: Counting,
) -> Result<Vec<BulkPart>, R::Error> {
    if let Some(counted) = counts(reads, new, now, &mut CountBudget::of(counting))? {
        let part = |one: Counted| BulkPart {
            destination: Some(one.count.id),
            total: one.is_exact.then_some(one.count.count + one.in_flight),
            is_empty: false,
        };
        return Ok(counted.into_iter().map(part).collect());
    }
    let destination = match &new.filter.destination {
        Some(name) => match reads.destination_id(name)? {
            Some(id) => Some(id),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    Ok(vec![BulkPart {
        destination,
        total: None,
        is_empty: false,
    }])
}

/// The same, or one that has ended if nothing is selected: a request is answered with what it made.
pub fn recorded_parts_of<R: BulkReads>(
    reads: &mut R,
    new: &NewBulk,
    now: Timestamp,
    counting: Counting,
) -> Result<Vec<BulkPart>, R::Error> {
    let mut parts = parts_of(reads, new, now, counting)?;
    if parts.is_empty() {
        let named = new.filter.destination.as_deref();
        let destination = named.map(|name| reads.destination_id(name)).transpose()?;
        parts.push(BulkPart {
            destination: destination.flatten(),
            total: Some(0),
            is_empty: true,
        });
    }
    Ok(parts)
}
