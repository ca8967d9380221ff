//! The pauses of maintenance, so that others have most of the writer's time.

use std::time::Duration;

/// How often an idle maintenance looks for work: a command's new bulk operation waits this long at
/// most.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a step that wrote: four times what the step costs the writer, some two or three
/// milliseconds, so that maintenance has a fifth of the writer's time at most.
pub const REST: Duration = Duration::from_millis(10);
/// The pause after a step that only read.
pub const REST_FROM_LOOKING: Duration = Duration::from_millis(2);
/// The pause after a step in which all bulk operations had to wait.
pub const REST_WHILE_WAITING: Duration = Duration::from_millis(100);
