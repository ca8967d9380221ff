//! Tests of the engine on a real server.
//!
//! - [`support`]: a server and its databases. [`server`]: the server, as the tests of the binary
//!   have it.
//! - [`opening`]: what is refused, and tables that several nodes create. [`failures`]: what befalls
//!   a connection.

mod failures;
mod opening;
#[path = "../../../tests/it/support/postgres.rs"]
mod server;
pub mod support;

pub use support::new_store;
