//! The pace of bulk operations: how many more deliveries a destination may get for now.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::model::OrderKey;
use crate::store::error::StoreError;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::queries::destination_id;
use crate::store::types::DestinationId;

/// A paced operation adds nothing while this many deliveries are due for the destination, or stand
/// in the line of the delivery's ordering key: one accepted meanwhile has no more than these before
/// it.
const MAX_WAITING: i64 = 200;
/// The room of a destination that isn't waited for.
const UNLIMITED: i64 = i64::MAX / 2;

/// How many more deliveries the destinations of one step may get. Bounded by the acts of a step.
pub struct Rooms<'a> {
    sql: &'a Connection,
    now: Timestamp,
    is_paced: bool,
    left: HashMap<DestinationId, i64>,
    /// The same for destinations that nothing was ever sent to.
    left_of_new: HashMap<String, i64>,
}

/// The destinations that are waited for although something keeps them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// All but paused ones: an operator who pauses a destination may want its backlog to grow.
    UnlessPaused,
    /// None: only a destination that nothing keeps back. One that is down must not hold up an
    /// operation on many.
    IfActive,
}

impl<'a> Rooms<'a> {
    pub fn new(sql: &'a Connection, now: Timestamp, is_paced: bool) -> Self {
        Self {
            sql,
            now,
            is_paced,
            left: HashMap::new(),
            left_of_new: HashMap::new(),
        }
    }

    /// Whether a destination has a place.
    pub fn has_room(&mut self, id: DestinationId, patience: Patience) -> Result<bool, StoreError> {
        if !self.is_paced {
            return Ok(true);
        }
        let left = match self.left.get(&id) {
            Some(left) => *left,
            None => self.measure(id, patience)?,
        };
        self.left.insert(id, left);
        Ok(left > 0)
    }

    /// Takes a place at a destination, and in a line of it; false if there is none.
    pub fn take(
        &mut self,
        id: DestinationId,
        key: Option<OrderKey>,
        patience: Patience,
    ) -> Result<bool, StoreError> {
        let mut has_room = self.has_room(id, patience)?;
        if let (true, true, Some(key)) = (self.is_paced, has_room, key)
            && self.left[&id] < UNLIMITED
        {
            has_room = !line::is_crowded(self.sql, id, key, MAX_WAITING)?;
        }
        if let Some(left) = self.left.get_mut(&id) {
            *left -= i64::from(has_room);
        }
        Ok(has_room)
    }

    /// The same, by name.
    pub fn take_by_name(
        &mut self,
        name: &str,
        key: Option<OrderKey>,
        patience: Patience,
    ) -> Result<bool, StoreError> {
        if let Some(id) = destination_id(self.sql, name)? {
            return self.take(id, key, patience);
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

    fn measure(&self, id: DestinationId, patience: Patience) -> Result<i64, StoreError> {
        let kept = self
            .sql
            .prepare_cached(
                "SELECT paused_at IS NOT NULL,
                        coalesce(held_until, 0) > ?2 OR probe_at IS NOT NULL
                 FROM destinations WHERE id = ?1",
            )?
            .query_row(params![id, self.now], |row| {
                Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?))
            })
            .optional()?;
        let (is_paused, is_held) = kept.unwrap_or((false, false));
        if is_paused || (is_held && patience == Patience::IfActive) {
            return Ok(UNLIMITED);
        }
        let waiting: i64 = self
            .sql
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM deliveries
                 WHERE destination_id = ?1 AND next_attempt_at <= ?2 LIMIT ?3)",
            )?
            .query_row(params![id, self.now, MAX_WAITING], |row| row.get(0))?;
        Ok((MAX_WAITING - waiting).max(0))
    }
}
