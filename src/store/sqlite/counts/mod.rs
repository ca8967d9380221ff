//! Deliveries by state, counted in memory: each transaction records its changes, and the stored
//! deliveries are counted once after the start, beside the writer. Reading the counts costs the
//! same however long the backlog is.
//!
//! - `changes`: how a transaction changes the counts. `totals`: the counts in memory. `counting`:
//!   counts the stored deliveries.

mod changes;
mod counting;
mod totals;

pub use changes::CountChanges;
pub use counting::Counting;
pub use totals::Counts;

#[cfg(test)]
mod tests;
