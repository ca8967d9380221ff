//! The attempts that receivers saw, and the node that made each.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::support::Arrival;

/// How long receivers take for an answer: an attempt is under way from its arrival until then. So
/// long that a fault meets some, and short enough to be quick for a node, which then prefetches.
pub const ANSWERED_AFTER: Duration = Duration::from_millis(60);

/// How long an attempt of a node may be under way after a fault, beside another node's: it was on
/// its way when the node was stopped.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// The attempts that receivers saw.
#[derive(Default)]
pub struct Attempts(Mutex<Vec<Seen>>);

/// A time in which a node stood still, and was taken over.
pub struct Freeze {
    pub node: &'static str,
    pub from: Duration,
    pub to: Duration,
}

#[derive(Clone)]
struct Seen {
    at: Duration,
    node: String,
    /// The event.
    id: String,
    /// A receiver, and a destination of it.
    destination: (usize, String),
}

impl Attempts {
    pub fn saw(&self, at: Duration, receiver: usize, arrival: &Arrival) {
        let seen = Seen {
            at,
            node: arrival.header("relay-node").to_owned(),
            id: arrival.header("webhook-id").to_owned(),
            destination: (receiver, arrival.path.clone()),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
    }

    /// The number of attempts, and those that a node began while another's to the same destination
    /// was under way, unless a fault came shortly before.
    pub fn at_once(&self, faults: &[Duration]) -> (usize, Vec<String>) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nameless = all.iter().filter(|seen| seen.node.is_empty()).count();
        assert_eq!(nameless, 0, "attempts that name no node");
        let mut latest: HashMap<&(usize, String), &Seen> = HashMap::new();
        let mut wrong = Vec::new();
        for seen in all.iter() {
            let before = latest.insert(&seen.destination, seen);
            let Some(before) = before.filter(|before| before.node != seen.node) else {
                continue;
            };
            let since = seen.at.saturating_sub(ON_ITS_WAY);
            let is_at_once = seen.at < before.at + ANSWERED_AFTER;
            if is_at_once && !faults.iter().any(|at| (since..=seen.at).contains(at)) {
                let (one, other, at) = (&before.node, &seen.node, seen.at);
                wrong.push(format!(
                    "{one} and {other} at once at {at:?}: {:?}",
                    seen.destination
                ));
            }
        }
        (all.len(), wrong)
    }

    /// The attempts that a node began when it went on after it had stood still, of events that
    /// others had taken over from it.
    pub fn after_freezes(&self, freezes: &[Freeze]) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wrong = Vec::new();
        for Freeze { node, from, to } in freezes {
            let until = *to + ON_ITS_WAY;
            let during = |seen: &&Seen| (*from..until).contains(&seen.at);
            let (own, others): (Vec<_>, Vec<_>) = all
                .iter()
                .filter(during)
                .partition(|seen| seen.node == *node);
            let others: HashSet<&str> = others.iter().map(|seen| seen.id.as_str()).collect();
            for seen in own.iter().filter(|seen| seen.at >= *to) {
                let (id, at) = (seen.id.as_str(), seen.at);
                if others.contains(id) {
                    wrong.push(format!(
                        "{node} went on at {to:?} with {id} of others at {at:?}"
                    ));
                }
            }
        }
        wrong
    }

    /// The attempts, a line each, to find the cause of a violation.
    pub fn lines(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |seen: &Seen| {
            let (receiver, path) = &seen.destination;
            format!("{:?} {} {} {receiver}{path}\n", seen.at, seen.node, seen.id)
        };
        all.iter().map(line).collect()
    }
}
