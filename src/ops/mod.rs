//! What an operator meets of a running relay, and what all parts share.
//!
//! - [`metrics`]: signals of life, for Prometheus. `logging`: the log, from a queue on a thread
//!   of its own. `status_text`: a delivery's state in words.
//! - `fd_limit`: the limit of open files, and its budget. `fatal`: the error that ends the relay.

pub(crate) mod fatal;
pub(crate) mod fd_limit;
pub(crate) mod logging;
pub mod metrics;
pub(crate) mod status_text;
