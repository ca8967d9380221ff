//! The operator's view of a running relay, and the tools that all parts share.
//!
//! - [`metrics`]: the metrics, for Prometheus. `logging`: the log on standard error.
//!   `status_text`: a delivery's state in words. `views`: intents as commands and the admin API
//!   show them. `moment`: times as operators write them. `durations`: durations in words.
//!   `operations`: operations on many relays and events. `visible`: texts from outside, with the
//!   hidden characters in them.
//! - `rollup_counters`: the counts since the last flush of rollups. `notices`: facts that the
//!   operator is told of. `pulse`: whether a loop turns. `series`: failures that are logged
//!   once. `examination`: the facts about a destination that relay doctor looks for.
//! - `service_manager`: systemd, or another one that started the process.
//! - `fd_limit`: the budget of file descriptors. `fatal`: the error that ends the relay.

pub(crate) mod durations;
#[allow(dead_code, reason = "a build without delivery examines nothing")]
pub(crate) mod examination;
pub(crate) mod fatal;
pub(crate) mod fd_limit;
pub(crate) mod logging;
pub mod metrics;
pub(crate) mod moment;
pub(crate) mod notices;
pub(crate) mod operations;
#[allow(dead_code, reason = "a build without delivery has no dispatcher")]
pub(crate) mod pulse;
#[allow(dead_code, reason = "a build without delivery makes no attempts")]
pub(crate) mod rollup_counters;
pub(crate) mod series;
pub(crate) mod service_manager;
pub(crate) mod status_text;
pub(crate) mod views;
pub(crate) mod visible;
