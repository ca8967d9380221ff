//! How many origins may wait for an API key.

use std::collections::{HashMap, HashSet};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::types::{Accept, Owner, OwnerId};
use crate::store::waiting_origins::WaitingOrigins;

const IS_WAITED_FOR: &str = "
SELECT 1 FROM relay.destinations t WHERE t.name = $1
  AND EXISTS (SELECT 1 FROM relay.waiting w WHERE w.destination_id = ANY(ARRAY[t.id]))";

const COUNT: &str = "
SELECT count(*) FROM relay.destinations t WHERE t.owner = $1
  AND EXISTS (SELECT 1 FROM relay.waiting w WHERE w.destination_id = ANY(ARRAY[t.id]))";

/// Admits origins of API keys, so that one key can't fill the dispatcher's memory. Nodes count for
/// themselves: together they may admit a few more than one would.
#[derive(Default)]
pub struct Admission {
    waiting: WaitingOrigins,
    /// The origins that are part of each key's count.
    counted: HashMap<OwnerId, HashSet<String>>,
}

impl Admission {
    /// Whether deliveries of an intent may wait for its origins.
    pub fn admits(
        &mut self,
        intent: &Accept,
        now: Timestamp,
        sql: &mut Connection,
    ) -> Result<bool, Failure> {
        let Some(owner) = intent.owner else {
            return Ok(true);
        };
        for origin in intent.destinations.iter() {
            if !self.admits_origin(owner, origin, now, sql)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether deliveries of an API key may wait for this origin: for at most
    /// [`Owner::max_waiting_origins`] at a time.
    fn admits_origin(
        &mut self,
        owner: Owner,
        origin: &str,
        now: Timestamp,
        sql: &mut Connection,
    ) -> Result<bool, Failure> {
        let counted = self.counted.entry(owner.id).or_default();
        if counted.contains(origin) {
            return Ok(true);
        }
        let is_waited_for = sql.first(IS_WAITED_FOR, &[&origin])?.is_some();
        let mut failure = None;
        let admitted = is_waited_for
            || self
                .waiting
                .admit(owner.id, owner.max_waiting_origins, now, || {
                    counted.clear();
                    count(sql, owner.id).map_err(|error| {
                        failure = Some(error);
                        StoreError::Busy
                    })
                })
                .unwrap_or(false);
        if let Some(failure) = failure {
            return Err(failure);
        }
        if admitted {
            counted.insert(origin.to_owned());
        }
        Ok(admitted)
    }
}

fn count(sql: &mut Connection, owner: OwnerId) -> Result<usize, Failure> {
    let counted: i64 = sql.one(COUNT, &[&owner])?.try_get(0)?;
    Ok(usize::try_from(counted).unwrap_or(0))
}
