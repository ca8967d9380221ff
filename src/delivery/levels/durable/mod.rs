//! Level 3, beside level 2's transport: signatures, and limits for each destination.
//!
//! - `per_destination`: the admission. `limits`: one destination's rate, window and breaker.
//!   `pool_share`: parts of the pool. `token_bucket`: a rate.
//! - `signature`: Standard Webhooks.

mod limits;
mod per_destination;
mod pool_share;
mod signature;
mod token_bucket;

pub(super) use per_destination::PerDestination;
pub(super) use signature::sign;
