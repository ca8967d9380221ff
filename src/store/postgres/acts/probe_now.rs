//! Lets a circuit breaker probe now.

use super::end_hold::lift;
use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::acts::destination;
use crate::store::postgres::connection::{Call, Connection};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::retry::once;
use crate::store::types::DestinationId;

const PROBE_NOW: &str = "UPDATE relay.destinations
     SET probe_at = CASE WHEN probe_at IS NOT NULL THEN least(probe_at, $2::int8) END,
         held_until = NULL
     WHERE id = $1 AND (probe_at IS NOT NULL OR held_until > $2::int8)
     RETURNING id";

fn probe_now(
    sql: &mut Connection,
    destination: &str,
    now: Timestamp,
) -> Result<Option<DestinationId>, Failure> {
    let Some(id) = destination::find(sql, destination)? else {
        return Ok(None);
    };
    let probing: Call<'_> = (PROBE_NOW, &[&id, &now]);
    let probed = lift(sql, (id, destination), probing, (now, None))?;
    Ok(probed.map(|row| row.try_get(0)).transpose()?)
}

impl Postgres {
    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub async fn probe_now(&self, destination: String) -> Result<bool, StoreError> {
        let now = self.shared().clock.now();
        let probing = move |sql: &mut Connection| probe_now(sql, &destination, now);
        let probed = self.change_async(once(probing, Option::is_some)).await?;
        if let Some(id) = probed {
            (self.shared().on_work)(&[id]);
        }
        (self.shared().on_outside_write)();
        Ok(probed.is_some())
    }
}

impl Operator {
    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub fn probe_now(&mut self, destination: &str) -> Result<bool, StoreError> {
        let now = self.now();
        let probing = |sql: &mut Connection| probe_now(sql, destination, now);
        let probed = self.change(once(probing, Option::is_some))?;
        Ok(probed.is_some())
    }
}
