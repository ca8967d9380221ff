//! Maintenance, one subject a file.
//!
//! - `alerts`: states of alerts, and their events.
//! - `budget`: the space that may be used.
//! - `config_state`: records the configuration that runs, and what a reload replaces.
//! - `expired`: intents and keys that retention may delete.
//! - `prune`: deletes expired intents and keys, and tidies up.
//! - `rollups`: adds to the counts by minute and hour.
//! - `secrets`: learns, expects and forgets secrets of sources.
//! - `share`: the work that is this node's.
//! - `shed`: finished events that make room.
//! - `space`: the space that is used.
//! - `vacuum`: removes dead rows. `horizon`: the transaction that the server keeps them for.

mod alerts;
mod budget;
mod config_state;
mod expired;
mod horizon;
mod prune;
mod rollups;
mod secrets;
mod share;
mod shed;
mod space;
mod vacuum;

#[cfg(test)]
pub use horizon::{HorizonWatch, OldestTransaction, oldest_transaction};
pub use vacuum::{Vacuum, start as start_vacuum};
