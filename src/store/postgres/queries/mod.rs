//! The reads, one subject a file.
//!
//! - `claims`: deliveries that are under way. `others`: what a read that goes on where it stopped
//!   leaves to other nodes. `plan_tests`: the indexes that the reads walk. `state_tests`: the
//!   states that they show.
//! - `alerts`: facts for alerts.
//! - `backlog`: the waiting deliveries in numbers.
//! - `blocking`: dead letters that block the deliveries behind them.
//! - `config_state`: the configuration that runs, and the deliveries that a reload touches.
//! - `counts`: deliveries by state, and destinations with dead letters that block.
//! - `destinations`: destinations, with their obstacles and their waiting deliveries.
//! - `export`: whole events, for an export.
//! - `intents`: relays and events, whole.
//! - `learned_secrets`: secrets that handshakes brought, and sources that expect one.
//! - `listing`: lists of deliveries, and their number.
//! - `nodes`: the processes that serve the database.
//! - `operations`: bulk operations as operators see them.
//! - `relays`: relays as the API shows them.
//! - `rollups`: counts by minute and hour.
//! - `stats`: the deliveries of each destination in numbers.
//! - `tail`: follows intents and attempts.
//! - `unrouted`: events without deliveries.

mod alerts;
mod backlog;
mod blocking;
mod claims;
mod config_state;
mod counts;
mod destinations;
mod export;
mod intents;
mod learned_secrets;
mod listing;
mod nodes;
pub mod operations;
mod others;
mod relays;
mod rollups;
mod stats;
mod tail;
mod unrouted;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod state_tests;
