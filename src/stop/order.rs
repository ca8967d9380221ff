use std::time::Duration;

use crate::stop::deadline::Deadline;
use crate::stop::ending::Ending;
use crate::stop::request::Stop;

/// An agent of the relay, as the stop sees it.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    /// Handed to the agent at its start.
    pub stop: Stop,
    /// None until the agent is started.
    pub ended: Option<Ending>,
}

/// One row of a table of stops: an agent of `A`, when it is asked to end, and how long that may
/// take.
#[derive(Debug)]
pub(crate) struct Step<A> {
    /// The agent's name in logs and errors.
    pub name: &'static str,
    pub agent: fn(&A) -> &Agent,
    pub asked: Asked,
    pub wait: Wait,
}

/// When an agent is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// When the stop begins.
    AtOnce,
    /// Once the agents before it have ended or are given up.
    InTurn,
    /// By another agent, at that agent's end.
    ByAnother,
}

/// How long the stop waits for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until this long after the grace.
    AfterGrace(Duration),
    /// This long from its turn.
    FromTurn(Duration),
    /// This long from its turn; the stop succeeds without it.
    Optional(Duration),
}

/// Stops the agents in the order of the table. Returns the names of those that did not end in time.
pub(crate) fn stop_in_order<A>(
    order: &[Step<A>],
    agents: &A,
    grace: Duration,
) -> Vec<&'static str> {
    let end_of_grace = Deadline::within(grace);
    for step in order.iter().filter(|step| step.asked == Asked::AtOnce) {
        (step.agent)(agents).stop.ask(end_of_grace);
    }
    let mut stuck = Vec::new();
    for step in order {
        let agent = (step.agent)(agents);
        let deadline = match step.wait {
            Wait::AfterGrace(more) => end_of_grace.plus(more),
            Wait::FromTurn(wait) | Wait::Optional(wait) => Deadline::within(wait),
        };
        if step.asked == Asked::InTurn {
            agent.stop.ask(deadline);
        }
        let has_ended = agent.ended.as_ref();
        if has_ended.is_none_or(|ended| ended.wait(&deadline)) {
            continue;
        }
        if let Wait::Optional(_) = step.wait {
            log::info!(
                part = step.name;
                "a part has not ended yet, and the stop goes on without it"
            );
        } else {
            stuck.push(step.name);
        }
    }
    stuck
}
