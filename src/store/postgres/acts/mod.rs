//! The acts of operators, one subject a file.
//!
//! - `bulk`: bulk operations.
//! - `import`: events from elsewhere.
//! - `of_intent`: operations on the deliveries of one intent.
//! - `pause`: pauses and resumes a destination.
//! - `probe_now`: lets a circuit breaker probe now.
//! - `replay`: replays and discards dead letters of one intent.
//! - `skip_dead`: dead letters that no longer block the deliveries behind them.

mod bulk;
mod import;
mod of_intent;
mod pause;
mod probe_now;
mod replay;
mod skip_dead;
