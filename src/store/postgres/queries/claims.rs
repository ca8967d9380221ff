//! Deliveries that are under way. No column says so: they stand in the turns of `claims`, with the
//! length of their history before. A settled one has a longer history, and a released one no
//! attempt.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::values::number;
use crate::store::types::{DestinationId, IntentRow};

/// The claimed deliveries of all nodes: at most nine for each worker.
const SELECT: &str = "SELECT u.intent_id, u.destination_id, u.attempt, u.history, u.made_at
     FROM relay.claimed u";

/// The claim of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    /// The attempt, 1-based in its budget.
    pub attempt: u32,
    /// Entries of the delivery's history before it.
    pub history: i64,
    pub claimed_at: Timestamp,
}

/// The claims of all nodes at some time.
#[derive(Debug, Default)]
pub struct Claims(HashMap<(IntentRow, DestinationId), UnderWay>);

impl Claims {
    pub fn read(sql: &mut Connection) -> Result<Self, Failure> {
        let mut claims = HashMap::new();
        for row in sql.rows(SELECT, &[])? {
            let key = (row.try_get(0)?, row.try_get(1)?);
            let claim = UnderWay {
                attempt: number(&row, 2)?,
                history: number(&row, 3)?,
                claimed_at: row.try_get(4)?,
            };
            let known = claims.entry(key).or_insert(claim);
            if known.history < claim.history {
                *known = claim;
            }
        }
        Ok(Self(claims))
    }

    /// The claimed deliveries, each with the entries of its history before.
    pub fn all(&self) -> impl Iterator<Item = ((IntentRow, DestinationId), i64)> {
        self.0.iter().map(|(key, claim)| (*key, claim.history))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The claim of a waiting delivery with so many entries in its history; none if it isn't
    /// claimed.
    pub fn of(
        &self,
        intent: IntentRow,
        destination: DestinationId,
        history: i64,
    ) -> Option<&UnderWay> {
        let claim = self.0.get(&(intent, destination));
        claim.filter(|claim| claim.history == history)
    }
}
