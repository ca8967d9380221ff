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
    /// Once the agent of this name, which stands before it, has ended or is given up.
    After(&'static str),
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

impl Wait {
    fn deadline(self, end_of_grace: Deadline) -> Deadline {
        match self {
            Self::AfterGrace(more) => end_of_grace.plus(more),
            Self::FromTurn(wait) | Self::Optional(wait) => Deadline::within(wait),
        }
    }
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
        let deadline = step.wait.deadline(end_of_grace);
        if step.asked == Asked::InTurn {
            agent.stop.ask(deadline);
        }
        let ended = agent.ended.as_ref();
        let is_late = ended.is_some_and(|ended| !ended.wait(&deadline));
        if let (true, Wait::Optional(_)) = (is_late, step.wait) {
            log::info!(
                part = step.name;
                "a part has not ended yet, and the stop goes on without it"
            );
        } else if is_late {
            stuck.push(step.name);
        }
        let after_it = Asked::After(step.name);
        for next in order.iter().filter(|next| next.asked == after_it) {
            let deadline = next.wait.deadline(end_of_grace);
            (next.agent)(agents).stop.ask(deadline);
        }
    }
    stuck
}
