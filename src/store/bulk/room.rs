//! The pace of bulk operations: how many more deliveries a destination may get for now.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::model::OrderKey;
use crate::store::bulk::reads::BulkReads;
use crate::store::types::{AdvanceBulk, DestinationId, Routing};

/// A paced operation adds nothing while this many deliveries are due for the destination, or stand
/// in the line of the delivery's ordering key: one accepted meanwhile has no more than these before
/// it.
const MAX_WAITING: i64 = 200;
/// The room of a destination that isn't waited for.
const UNLIMITED: i64 = i64::MAX / 2;

/// How many more deliveries the destinations of one step may get. Bounded by the acts of a step.
pub struct Rooms<'a> {
    now: Timestamp,
    is_paced: bool,
    routing: &'a dyn Routing,
    left: HashMap<DestinationId, i64>,
    /// The same for destinations that nothing was ever sent to.
    left_of_new: HashMap<String, i64>,
}

/// The destinations that are waited for although something keeps them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// All but paused ones and those that left the configuration: their backlogs don't shrink
    /// before an operator acts, who may want that of a paused one to grow.
    UnlessStopped,
    /// None: only a destination that nothing keeps back. One that is down must not hold up an
    /// operation on many.
    IfActive,
}

impl<'a> Rooms<'a> {
    pub fn new(now: Timestamp, step: &AdvanceBulk<'a>) -> Self {
        Self {
            now,
            is_paced: step.is_paced,
            routing: step.routing,
            left: HashMap::new(),
            left_of_new: HashMap::new(),
        }
    }

    /// Whether a destination has a place.
    pub fn has_room<R: BulkReads>(
        &mut self,
        reads: &mut R,
        id: DestinationId,
        patience: Patience,
    ) -> Result<bool, R::Error> {
        if !self.is_paced {
            return Ok(true);
        }
        let left = match self.left.get(&id) {
            Some(left) => *left,
            None => self.measure(reads, id, patience)?,
        };
        self.left.insert(id, left);
        Ok(left > 0)
    }

    /// Takes a place at a destination, and in a line of it; false if there is none.
    pub fn take<R: BulkReads>(
        &mut self,
        reads: &mut R,
        (id, key): (DestinationId, Option<OrderKey>),
        patience: Patience,
    ) -> Result<bool, R::Error> {
        let mut has_room = self.has_room(reads, id, patience)?;
        if let (true, true, Some(key)) = (self.is_paced, has_room, key)
            && self.left[&id] < UNLIMITED
        {
            has_room = !reads.is_crowded(id, key, MAX_WAITING)?;
        }
        if let Some(left) = self.left.get_mut(&id)
            && *left < UNLIMITED
        {
            *left -= i64::from(has_room);
        }
        Ok(has_room)
    }

    /// The same, by name.
    pub fn take_by_name<R: BulkReads>(
        &mut self,
        reads: &mut R,
        (name, key): (&str, Option<OrderKey>),
        patience: Patience,
    ) -> Result<bool, R::Error> {
        if let Some(id) = reads.destination_id(name)? {
            return self.take(reads, (id, key), patience);
        }
        let left = self.left_of_new.entry(name.to_owned());
        let left = left.or_insert(if self.is_paced {
            MAX_WAITING
        } else {
            UNLIMITED
        });
        let has_place = *left > 0;
        *left -= i64::from(has_place);
        Ok(has_place)
    }

    fn measure<R: BulkReads>(
        &self,
        reads: &mut R,
        id: DestinationId,
        patience: Patience,
    ) -> Result<i64, R::Error> {
        let kept = reads.kept_back(id, self.now)?.unwrap_or_default();
        if kept.is_paused || (kept.is_held && patience == Patience::IfActive) {
            return Ok(UNLIMITED);
        }
        let name = reads.destination_name(id)?;
        if name.is_some_and(|name| !self.routing.is_deliverable(&name)) {
            return Ok(UNLIMITED);
        }
        let waiting = reads.count_due(id, self.now, MAX_WAITING)?;
        Ok((MAX_WAITING - waiting).max(0))
    }
}
