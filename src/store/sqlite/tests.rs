//! The engine's promises, from inside.

mod counts;
mod files;
mod lock_file;
mod maintenance;
mod support;
mod tx;
mod writer;

pub use support::*;
