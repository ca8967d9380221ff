//! Tests of the engine as a whole.

mod counts;
mod files;
mod lock_file;
mod maintenance;
mod order;
mod readiness;
mod support;
mod tx;
mod world;
mod writer;

pub use support::*;
