use std::time::Duration;

use crate::ops::fatal::Fatal;
use crate::stop::Agent;

/// The agents of a relay, as far as they are started. Dropping them stops them.
#[derive(Debug)]
pub(super) struct Agents {
    /// The listeners, until the last request is answered.
    pub requests: Agent,
    pub maintenance: Agent,
    pub dispatcher: Agent,
    pub writer: Agent,
    pub heartbeat: Agent,
    /// Obtains certificates.
    pub acme: Agent,
    pub http_threads: Agent,
    pub workers: Agent,
    pub fatal: Fatal,
    /// For requests and attempts together.
    pub grace: Duration,
    pub is_stopped: bool,
}

impl Agents {
    /// Agents that are not started yet, with `grace` for their stop.
    pub fn new(grace: Duration) -> Self {
        Self {
            requests: Agent::default(),
            maintenance: Agent::default(),
            dispatcher: Agent::default(),
            writer: Agent::default(),
            heartbeat: Agent::default(),
            acme: Agent::default(),
            http_threads: Agent::default(),
            workers: Agent::default(),
            fatal: Fatal::new(),
            grace,
            is_stopped: false,
        }
    }
}
