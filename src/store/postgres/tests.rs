//! Tests of the engine on a real server.
//!
//! - [`support`]: a server and its databases. [`server`]: the server, as the tests of the binary
//!   have it. [`own_server`]: one that a test may stop.
//! - [`opening`]: refusals, and tables that several nodes create. [`failures`]: failures of a
//!   connection. [`restarts`]: failures of a server. [`privacy`]: TLS.
//! - [`nodes`]: several nodes on one database. [`times`]: what they write with a time.
//!   [`ids`]: ids that are taken. [`upkeep`]: dead rows. [`damage`]: texts that a disk has damaged.

mod damage;
mod failures;
mod ids;
pub mod nodes;
mod opening;
#[allow(dead_code, reason = "the tests of the binary use the rest of it")]
#[path = "../../../tests/it/support/own_server.rs"]
mod own_server;
mod privacy;
mod restarts;
#[path = "../../../tests/it/support/postgres.rs"]
mod server;
pub mod support;
mod times;
mod upkeep;

use server as postgres;
pub use support::{let_nodes_lapse, new_store};
