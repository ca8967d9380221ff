//! Level 2's transport: one POST through ureq.
//!
//! - `agents`: ureq's agents, and their connections. `request`: the request of an attempt.
//! - `certificates`: fetches the certificates of providers. `heartbeat`: sends heartbeats.
//! - `answer`: classifies an answer, or its absence. `errors`: the transport's own errors.
//! - `resolver`, `names`: name look-ups, and the check of addresses. `wire`: connections.
//! - `examine`: examines a destination without sending it an event.
//! - `proxy`: the proxy on the way, and its failures.
//! - `tls`: certificates. `trace`: the durations of an attempt's steps.

mod agents;
mod answer;
mod certificates;
mod errors;
mod examine;
mod heartbeat;
mod names;
mod proxy;
mod request;
mod resolver;
mod tls;
mod trace;
mod wire;

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{HeaderValue, LOCATION};

use crate::clock::{Clock, Timestamp};
use crate::config::{DestinationPolicy, Resolved};
use crate::delivery::attempt::{Attempt, Sent};
use crate::delivery::context::Context;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::transport::{Prepared, Transport};
use crate::model::{FailureKind, TargetUrl};
use crate::store::OutboundMessage;
pub(super) use agents::check;
use agents::{AgentMaker, Agents};
pub(super) use certificates::fetcher;
#[cfg(test)]
pub(super) use certificates::fetcher_from;
pub(super) use examine::examine;
pub(super) use heartbeat::sender;
pub(super) use request::Sign;
use wire::BUFFER;

/// Bytes of an answer that are read, so that its connection can be reused; past it the connection
/// is closed (2 000 POSTs took 1 connection drained, and 2 000 undrained, measured).
const MAX_DRAINED: u64 = 64 * 1024;
/// Bytes of an answer that are kept: those that the contract shows.
const MAX_KEPT: usize = 4 * 1024;
/// Seconds between two warnings that attempts are put off, so that a shortage doesn't fill the log.
const WARN_EVERY_SECONDS: u64 = 60;

pub(super) struct Http {
    /// Replaced by a reload.
    agents: Arc<ArcSwap<Agents>>,
    maker: AgentMaker,
    clock: Arc<dyn Clock>,
    sign: Option<Sign>,
    /// The name of this node, if requests tell it.
    node: Option<HeaderValue>,
    /// When the next warning about a shortage is due: seconds of the monotonic clock.
    next_warning: AtomicU64,
}

impl Http {
    /// An error names the destination whose certificate authorities can't be used.
    pub fn new(context: &Context, sign: Option<Sign>) -> std::io::Result<Self> {
        let node = node_header(&context.config.current())?;
        Self::of(AgentMaker::new(context), &context.clock, (sign, node))
    }

    /// A transport of a command, which sends by a configuration that no server runs.
    pub fn of_command(
        config: &Arc<Resolved>,
        clock: &Arc<dyn Clock>,
        own_listeners: &[SocketAddr],
        sign: Option<Sign>,
    ) -> std::io::Result<Self> {
        let maker = AgentMaker::of(Arc::clone(config), clock, own_listeners);
        Self::of(maker, clock, (sign, None))
    }

    fn of(
        maker: AgentMaker,
        clock: &Arc<dyn Clock>,
        (sign, node): (Option<Sign>, Option<HeaderValue>),
    ) -> std::io::Result<Self> {
        Ok(Self {
            agents: Arc::new(ArcSwap::from_pointee(Agents::new(&maker)?)),
            maker,
            clock: Arc::clone(clock),
            sign,
            node,
            next_warning: AtomicU64::new(0),
        })
    }

    /// Sends a message, and takes the durations of the steps.
    fn traced(&self, message: &OutboundMessage, sent: &Sent<'_>, wall: Timestamp) -> Outcome {
        trace::begin();
        let outcome = self.post(message, sent, wall);
        Outcome {
            trace: trace::take(),
            ..outcome.unwrap_or_else(|failed| *failed)
        }
    }

    fn post(
        &self,
        message: &OutboundMessage,
        sent: &Sent<'_>,
        wall: Timestamp,
    ) -> Result<Outcome, Box<Outcome>> {
        let policy = &sent.target.policy;
        let timeout = policy.timeout;
        let mut request = request::build(message, sent, wall, self.sign).map_err(|error| {
            Box::new(Outcome::failed(
                Class::Permanent,
                FailureKind::Internal,
                error,
            ))
        })?;
        if let Some(name) = &self.node {
            request.headers_mut().insert("relay-node", name.clone());
        }
        let agents = self.agents.load();
        let Some(agent) = agents.of(sent.target) else {
            let replaced = "the configuration was replaced meanwhile";
            let failed = Outcome::failed(Class::Transient, FailureKind::Internal, replaced);
            return Err(Box::new(Outcome {
                is_made: false,
                ..failed
            }));
        };
        let longest = request::longest_line(&request);
        let mut request = agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .timeout_recv_response(Some(timeout));
        if longest > BUFFER {
            // Goes over a connection of its own, which is closed afterwards.
            request = request.output_buffer_size(longest);
        }
        let request = request.build();
        let start = self.clock.monotonic();
        let response = agent
            .run(request)
            .map_err(|error| self.failed(&error, policy))?;
        trace::first_byte(self.clock.monotonic().saturating_sub(start));
        self.outcome(response, (policy, message), wall)
    }

    fn outcome(
        &self,
        response: Response<Body>,
        (policy, message): (&DestinationPolicy, &OutboundMessage),
        wall: Timestamp,
    ) -> Result<Outcome, Box<Outcome>> {
        let status = response.status();
        let retry_after = answer::retry_after(response.headers(), status.as_u16(), wall);
        let location = response.headers().get(LOCATION).cloned();
        let mut kept = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_DRAINED);
        let drained = (&mut body)
            .take(MAX_KEPT as u64)
            .read_to_end(&mut kept)
            .and_then(|_| std::io::copy(&mut body, &mut std::io::sink()));
        let own = policy.url.as_ref().map(TargetUrl::as_str);
        let redirect = location.as_ref().map(|to| answer::Redirect {
            to,
            from: own.or(message.url.as_deref()).unwrap_or_default(),
        });
        let (class, error) = answer::classify(status, policy, redirect.as_ref());
        // A 2xx with an incomplete body is a broken answer: its acknowledgement is not certain.
        // With any other status the status counts.
        if let (Class::Delivered, Err(error)) = (class, drained) {
            let failed = *self.failed(&ureq::Error::from(error), policy);
            let response = Some(kept);
            return Err(Box::new(Outcome {
                response,
                ..answer::incomplete(status, failed)
            }));
        }
        Ok(Outcome {
            class,
            failure: (class != Class::Delivered).then_some(FailureKind::Status),
            status_code: Some(status.as_u16()),
            error,
            response: Some(kept),
            retry_after,
            ..Outcome::delivered()
        })
    }

    /// The outcome of an error. A shortage of this machine is logged.
    fn failed(&self, error: &ureq::Error, policy: &DestinationPolicy) -> Box<Outcome> {
        let outcome = answer::failure(error, policy);
        if let Some(why) = outcome.error.as_ref().filter(|_| !outcome.is_made)
            && self.may_warn()
        {
            log::warn!("attempts can't be made, and are put off: {why}");
        }
        Box::new(outcome)
    }

    /// Whether a warning about a shortage is due.
    fn may_warn(&self) -> bool {
        let now = self.clock.monotonic().as_secs();
        let next = self.next_warning.load(Ordering::Relaxed);
        let later = now + WARN_EVERY_SECONDS;
        let order = Ordering::Relaxed;
        let warning = &self.next_warning;
        now >= next && warning.compare_exchange(next, later, order, order).is_ok()
    }
}

/// The header that names this node; none unless a test asks for it.
fn node_header(config: &Resolved) -> std::io::Result<Option<HeaderValue>> {
    let is_asked = config.node.is_named_in_requests;
    let name = is_asked.then(|| HeaderValue::try_from(config.node.own_name()));
    name.transpose().map_err(std::io::Error::other)
}

impl Transport for Http {
    fn send(&self, message: &OutboundMessage, attempt: &Attempt, wall: Timestamp) -> Outcome {
        self.traced(message, &attempt.sent(message), wall)
    }

    fn ping(&self, message: &OutboundMessage, sent: &Sent<'_>, wall: Timestamp) -> Option<Outcome> {
        Some(self.traced(message, sent, wall))
    }

    fn prepare(&self, config: &Arc<Resolved>) -> std::io::Result<Prepared> {
        let maker = self.maker.reloaded(Arc::clone(config));
        let (reloaded, renewed) = self.agents.load().reloaded(&maker)?;
        let agents = Arc::clone(&self.agents);
        Ok(Prepared::new(renewed, move || {
            agents.store(Arc::new(reloaded));
        }))
    }

    fn abort(&self) {
        self.agents.load().shut_down();
    }
}
