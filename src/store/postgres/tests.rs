//! Tests of the engine on a real server.
//!
//! - [`support`]: a server and its databases. [`server`]: the server, as the tests of the binary
//!   have it. [`own_server`]: one that a test may stop.
//! - [`opening`]: refusals, and tables that several nodes create. [`failures`]: failures of a
//!   connection. [`restarts`]: failures of a server. [`outages`]: the same under load. [`privacy`]:
//!   TLS.

mod failures;
mod opening;
mod outages;
mod own_server;
mod privacy;
mod restarts;
#[path = "../../../tests/it/support/postgres.rs"]
mod server;
pub mod support;

pub use support::new_store;
