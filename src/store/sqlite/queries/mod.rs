//! The reads, one subject a file.
//!
//! - `relays`, `intents`: stored intents to be shown.
//! - `due`: destinations with waiting deliveries. `messages`: the content that deliveries send.
//!   `history`: earlier attempts of a delivery.
//! - `backlog`, `stats`, `listing`, `destinations`: figures and lists for operators. `selection`,
//!   `bulk_reads`: what bulk operations read. `bulk`: these operations. `operations`: the same as
//!   operators see them.
//! - `export`: whole events. `holding`: copies that hold what was erased.
//! - `blocking`: dead letters that block the deliveries behind them.
//! - `learned_secrets`: secrets that handshakes brought. `quick_check`: the database's structure.
//! - `config_state`: the configuration that runs, and the deliveries that a reload touches.
//! - `tail`: follows intents and attempts.
//! - `rollups`: counts by minute and hour. `alerts`: facts for alerts.
//! - `sheddable`, `space`: events that make room, and the room that is used.
//! - `nodes`: the process that serves the file.
//! - `expired`: intents and keys that retention may delete. `unrouted`: events without deliveries.

mod alerts;
mod backlog;
mod blocking;
mod bulk;
mod bulk_reads;
mod config_state;
mod destinations;
mod due;
mod expired;
mod export;
mod history;
mod holding;
mod intents;
mod learned_secrets;
mod listing;
mod messages;
mod nodes;
mod operations;
mod quick_check;
mod relays;
mod rollups;
mod selection;
mod sheddable;
mod space;
mod stats;
mod tail;
mod unrouted;

pub use bulk::bulk_under_way;
pub use bulk_reads::BulkReader;
pub use due::{backlog_of, waiting};
pub use learned_secrets::count_learned_secrets;
pub use operations::{operation_named_by, read_operation};
pub use space::used_pages;
#[cfg(test)]
pub use stats::SELECT_STATS;
