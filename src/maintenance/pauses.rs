//! The pauses of maintenance, so that others have most of the writer's time.

use std::time::Duration;

/// How often an idle maintenance looks for work: a command's new bulk operation waits this long at
/// most.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An agent's pause after a step that wrote: four times what the step costs the writer, some two or
/// three milliseconds, so that maintenance has a fifth of the writer's time at most.
pub const REST: Duration = Duration::from_millis(10);
/// The pause after a step that only read.
pub const REST_FROM_LOOKING: Duration = Duration::from_millis(2);
/// The pause after a step in which all bulk operations had to wait.
pub const REST_WHILE_WAITING: Duration = Duration::from_millis(100);

/// The pause after a step of each agent, given their own pauses; none of one that had nothing to
/// do. Those of the agents that wrote add up, as their writes do.
pub fn after(agents: &[Option<Duration>]) -> Duration {
    let pauses = || agents.iter().copied().flatten();
    let writes: Duration = pauses().filter(|pause| *pause == REST).sum();
    if writes.is_zero() {
        pauses().min().unwrap_or(LOOK_EVERY)
    } else {
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_that_wrote_is_followed_by_its_pause() {
        let looked = Some(REST_FROM_LOOKING);
        let waited = Some(REST_WHILE_WAITING);
        for (agents, pause) in [
            ([None; 3], LOOK_EVERY),
            ([looked, Some(REST), None], REST),
            ([Some(REST), waited, looked], REST),
            ([Some(REST), looked, Some(REST)], REST * 2),
            ([waited, looked, None], REST_FROM_LOOKING),
            ([None, waited, None], REST_WHILE_WAITING),
        ] {
            assert_eq!(after(&agents), pause, "{agents:?}");
        }
    }
}
