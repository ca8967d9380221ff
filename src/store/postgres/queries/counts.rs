//! Deliveries by state, and destinations with dead letters that block.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::postgres::counts::count;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::values::number;
use crate::store::types::{COUNTED_STATES, DestinationId};

/// Dead letters that block the deliveries behind them, by destination.
pub const COUNT_BLOCKING: &str = "SELECT destination_id, count(*) FROM relay.ended
     WHERE place IS NOT NULL GROUP BY destination_id";

impl Postgres {
    /// Deliveries by state, of the last recount; none before the first.
    pub fn deliveries(&self) -> Option<[(DeliveryState, i64); COUNTED_STATES.len()]> {
        self.shared().counts.totals()
    }

    /// Has the deliveries counted again if the last recount is old, and waits a little for it.
    pub async fn recount_if_due(&self) {
        let counts = &self.shared().counts;
        if counts.take_due() {
            let engine = self.clone();
            let counting = std::thread::Builder::new().name("relay-counter".to_owned());
            let begun = counting.spawn(move || {
                if let Err(error) = engine.recount() {
                    log::debug!(error:% = error; "deliveries can't be counted");
                }
            });
            if begun.is_err() {
                counts.give_up();
            }
        }
        let waited = self.run_blocking(|store| {
            store.shared().counts.wait();
            Ok(())
        });
        // Older totals are better than none.
        let _ = waited.await;
    }

    /// Counts the stored deliveries now. Blocks.
    pub fn recount(&self) -> Result<(), StoreError> {
        self.shared().counts.recount(|| self.read(count))
    }

    /// The destinations that have, or had since the start, dead letters that block the deliveries
    /// behind them, each with their number; none if they can't be counted now. Blocks.
    pub fn blocking(&self) -> Option<Vec<(DestinationId, i64)>> {
        let found = self.read(|sql| {
            let rows = sql.rows(COUNT_BLOCKING, &[])?;
            let of = |row: &Row| Ok((row.try_get(0)?, number(row, 1)?));
            rows.iter().map(of).collect::<Result<Vec<_>, Failure>>()
        });
        Some(self.shared().counts.with_former(found.ok()?))
    }

    /// The same by name.
    pub async fn blocking_by_name(&self) -> Result<Option<Vec<(String, i64)>>, StoreError> {
        let shared = Arc::clone(self.shared());
        let named = self.read_async(move |sql| {
            let rows = sql.rows(COUNT_BLOCKING, &[])?;
            let of = |row: &Row| Ok((row.try_get(0)?, number(row, 1)?));
            let found = rows.iter().map(of).collect::<Result<Vec<_>, Failure>>()?;
            let (ids, counts): (Vec<_>, Vec<i64>) =
                shared.counts.with_former(found).into_iter().unzip();
            let rows = sql.rows(
                "SELECT t.name, n.count
                 FROM unnest($1::int[], $2::bigint[]) AS n(id, count)
                      CROSS JOIN LATERAL (
                          SELECT name FROM relay.destinations x WHERE x.id = n.id OFFSET 0) AS t
                 ORDER BY n.id",
                &[&ids, &counts],
            )?;
            let named = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
            rows.iter().map(named).collect()
        });
        named.await.map(Some)
    }
}
