//! The changes, one subject a file.
//!
//! - `accept`: records an intent. `settle_and_claim`: the dispatcher's transaction.
//! - `line`: deliveries that are kept in order. `skip_dead`: dead letters that no longer block.
//! - `payload`: deletes payloads, and keeps their events. `erase_again`: what a backup brought
//!   back.
//! - `act`: an operator's acts on a delivery. `of_intent`, `bulk`: acts on one intent or on many.
//! - `import`: events from elsewhere.
//! - `pause`: pauses and resumes a destination. `probe_now`: lets a breaker probe. `end_hold`:
//!   makes due what a `Retry-After` kept.
//! - `learn_secret`: secrets that handshakes bring.
//! - `config_state`: the configuration that runs, and what a reload replaces.
//! - `prune`, `tidy_up`, `unused_origins`: retention. `shed`, `sample_space`: room under
//!   `database.max_bytes`.
//! - `rollups`: counts by minute and hour. `alerts`: states of alerts, and their events.
//! - `recover`: at the start, releases what a process that died had claimed.
//! - `probe`, `take_outside`: the writer's own.

mod accept;
mod act;
mod alerts;
mod bulk;
mod config_state;
mod end_hold;
mod erase_again;
mod import;
mod learn_secret;
pub mod line;
mod of_intent;
mod pause;
pub mod payload;
mod probe;
mod probe_now;
mod prune;
pub mod recover;
pub mod rollups;
mod sample_space;
pub mod settle_and_claim;
mod shed;
mod skip_dead;
mod take_outside;
mod tidy_up;
mod unused_origins;

pub use act::{Entry, insert_entry};
pub use erase_again::erase_again;
pub use probe::Probe;
pub use take_outside::TakeOutside;
