//! An embedded, single-node webhook and event relay: one process, one `SQLite` file.
//!
//! It takes events in over HTTP, makes them durable before it answers, and delivers them:
//! retried, paced, signed, dead-lettered, never lost. The binary is a thin shell around this
//! library; embedding it takes a dozen lines:
//!
//! ```
//! use relay::{Config, Relay};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let mut config = Config::default();
//! config.server.listen = "127.0.0.1:0".parse()?; // port 0: the system chooses
//! config.admin.listen = None;
//! config.database.path = directory.path().join("relay.db");
//! config.database.min_free_bytes = 0;
//!
//! let relay = Relay::start(config)?;
//! println!("listening at http://{}", relay.address());
//! relay.stop()?; // drains requests, settles attempts, checkpoints
//! # Ok(())
//! # }
//! ```
//!
//! A relay brings its own runtime and threads. Its methods may be called from asynchronous code;
//! those that block say so, and belong on a thread that may block.
//!
//! # Code map
//!
//! Data flows `http` → `store` → `delivery` → `store`. A folder's `mod.rs`, or the file of
//! its name beside it, lists its files; `docs/architecture.md` draws the whole.
//!
//! - [`relay`](Relay): the wiring, and the table of the stop; the only part that knows every other.
//! - [`config`]: `relay.toml` and the environment, checked and resolved. [`clock`]: the time.
//!   [`model`]: ids, states, URLs; pure.
//! - `http`: the relay API, the inbox for webhooks and the operator's listener, on hyper.
//! - `store`: the operations on everything kept. `store/sqlite` is the engine: one writer that
//!   commits in groups, a pool of readers.
//! - `delivery`: the executor on blocking threads, in three levels; `delivery_off` stands in for it
//!   in the baseline build.
//! - `maintenance`: retention, bulk operations, rollups and alerts, in small steps.
//! - `ops`: metrics, the log, the limit of open files, a delivery's state in words, and
//!   its JSON for commands and `/api`.
//! - `acme`: obtains the public listener's certificate. `tls`: certificates and keys.
//! - `stop`: the one way to stop a part. `limiter`: token buckets. `named_file`: reads files that
//!   settings name.
//!   `compiled_level`: the highest level in this build.
//! - [`cli`]: the binary's subcommands.
//!
//! # Invariants
//!
//! - `http` and `delivery` know nothing of each other.
//! - No SQL and no engine's crate stands outside `store/sqlite` and `store/postgres`.
//! - Nothing is answered before its commit is on disk.
//! - `cfg(feature)` stands here, in `compiled_level.rs`, `delivery/levels/mod.rs`, `store/mod.rs`
//!   and `http/admin/mod.rs`: no error, column or metric depends on the build, and no route but the
//!   console's.
//! - Only `clock/system.rs` asks the system for the time of day.
//!
//! `tests/tidy/` checks these.

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "tables of cases are long")
)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod model;

#[cfg(feature = "delivery-simulated")]
mod delivery;
#[cfg(not(feature = "delivery-simulated"))]
#[path = "delivery_off.rs"]
mod delivery;

mod acme;
mod compiled_level;
mod http;
mod limiter;
mod maintenance;
mod named_file;
mod ops;
mod relay;
mod stop;
mod store;
mod tls;

pub use compiled_level::COMPILED_LEVEL;
pub use config::Config;
#[cfg(feature = "delivery-simulated")]
#[doc(hidden)]
pub use delivery::measure;
pub use ops::metrics;
pub use relay::{Relay, RelayError, ReloadError, StartError};
pub use store::{OpenError, StoreError};
