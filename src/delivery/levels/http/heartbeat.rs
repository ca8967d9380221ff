//! Sends heartbeats: one GET, whose URL is never shown.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;

use crate::config::DestinationPolicy;
use crate::delivery::context::Context;
use crate::delivery::levels::http::agents::AgentMaker;
use crate::delivery::levels::http::answer;
use crate::model::{FailureKind, SendHeartbeat};

/// The time for a beat.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends beats under the rules of the operator's URLs: to any address but relay's own, without
/// following redirects.
pub(in crate::delivery) fn sender(context: &Context) -> SendHeartbeat {
    let maker = AgentMaker::new(context);
    // Names the failures of URLs that have no section of their own.
    let policy = Arc::clone(context.config.current().adhoc());
    let agent = OnceLock::new();
    Arc::new(move |url| {
        let made = agent.get_or_init(|| maker.heartbeat_agent());
        made.as_ref()
            .map_err(Clone::clone)
            .and_then(|agent| send(agent, url, &policy))
    })
}

fn send(agent: &Agent, url: &str, policy: &DestinationPolicy) -> Result<(), String> {
    let request = agent
        .get(url)
        .config()
        .timeout_global(Some(TIMEOUT))
        .build();
    match request.call() {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("answered {}", response.status().as_u16())),
        // The class alone: an error's text may hold the URL.
        Err(error) => {
            let failure = answer::failure(&error, policy).failure;
            Err(failure.unwrap_or(FailureKind::Internal).class(None))
        }
    }
}

#[cfg(test)]
mod tests;
