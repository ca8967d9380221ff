//! Lets a circuit breaker probe now.

use super::end_hold::{END_HOLD, LOCK_HELD};
use super::pause::poke;
use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::text::Wanted;
use crate::store::types::DestinationId;

fn probe_now(
    sql: &mut Connection,
    destination: &str,
    now: Timestamp,
) -> Result<Option<DestinationId>, Failure> {
    const PROBE_NOW: &str = "UPDATE relay.destinations
         SET probe_at = CASE WHEN probe_at IS NOT NULL THEN least(probe_at, $2::int8) END,
             held_until = NULL
         WHERE name = $1 AND (probe_at IS NOT NULL OR held_until > $2::int8)
         RETURNING id";
    let name = Wanted(destination);
    let names: &[_] = &[name];
    let made = sql.transaction(&[
        (LOCK_HELD, &[&names]),
        (END_HOLD, &[&names, &now, &None::<Timestamp>]),
        (PROBE_NOW, &[&name, &now]),
    ])?;
    let probed = made[2].first();
    let probed: Option<DestinationId> = probed.map(|row| row.try_get(0)).transpose()?;
    if let Some(id) = probed {
        poke(sql, id)?;
    }
    Ok(probed)
}

impl Postgres {
    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub async fn probe_now(&self, destination: String) -> Result<bool, StoreError> {
        let now = self.shared().clock.now();
        let probing = self.change_async(move |sql| probe_now(sql, &destination, now));
        let probed = probing.await?;
        if let Some(id) = probed {
            (self.shared().on_work)(&[id]);
        }
        Ok(probed.is_some())
    }
}

impl Operator {
    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub fn probe_now(&mut self, destination: &str) -> Result<bool, StoreError> {
        let now = self.now();
        let probed = self.change(|sql| probe_now(sql, destination, now))?;
        Ok(probed.is_some())
    }
}
