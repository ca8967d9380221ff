//! The acts of operators, one subject a file.
//!
//! - `selection`: the deliveries, or the events, that bulk operations select. `reads`: all that
//!   these operations read.
//! - `making/`: makes acts. `of_intent`: operations on the deliveries of one intent. `bulk/`: bulk
//!   operations.
//! - `import`: events from elsewhere. `inserting`: the statement that inserts one.
//! - `destination`: finds or creates one by its name. `pause`: pauses and resumes a destination.
//!   `probe_now`: lets a circuit breaker probe now. `end_hold`: what a `Retry-After` kept is due.
//! - `skip_dead`: dead letters that no longer block the deliveries behind them.

mod bulk;
mod destination;
pub(super) mod end_hold;
mod import;
mod inserting;
pub(super) mod making;
mod of_intent;
mod pause;
mod probe_now;
mod reads;
mod selection;
mod skip_dead;
