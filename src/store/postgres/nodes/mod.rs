//! Several nodes on one database: each destination belongs to a bucket, each bucket to a node, and
//! a node that is gone is replaced once its lease has lapsed.
//!
//! - `membership`: the rules, as pure transitions. `rendezvous`: which node should own a bucket.
//!   `bucket_set`: sets of buckets. `model`: checks the rules exhaustively.
//! - `statements`: the statements that the rules ask for. `join`: a node's begin and end.
//!   `heartbeat`: the thread that keeps the lease. `lease_clock`: the clock it is measured by.
//!   `database_clock`: the clock that all nodes follow. `rounds`: the thread that finds what other
//!   nodes and commands made due.

mod bucket_set;
mod database_clock;
mod heartbeat;
mod join;
mod lease_clock;
mod membership;
#[cfg(test)]
mod model;
mod rendezvous;
pub mod rounds;
mod statements;

pub(super) use bucket_set::BucketSet;
pub(super) use database_clock::DatabaseClock;
pub(super) use heartbeat::spawn as spawn_heartbeat;
pub(super) use join::{join, leave};
pub(super) use lease_clock::boot_millis;
pub(super) use membership::Membership;
pub(super) use rounds::spawn as spawn_rounds;
pub(super) use statements::TELL;
