//! Several nodes on one database: each destination belongs to a bucket, each bucket to a node, and
//! a node that is gone is replaced once its lease has lapsed.
//!
//! - `membership`: the rules, as pure transitions. `rendezvous`: which node should own a bucket.
//!   `bucket_set`: sets of buckets.
//! - `model`: checks the rules exhaustively.

mod bucket_set;
mod membership;
#[cfg(test)]
mod model;
mod rendezvous;
