//! Level 2's transport: one POST through ureq.

mod answer;
mod request;
mod resolver;
mod tls;
mod trace;
mod wire;

use std::collections::HashMap;
use std::io::{Error as IoError, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::http::header::LOCATION;

use crate::clock::{Clock, Timestamp};
use crate::config::Secret;
use crate::delivery::Context;
use crate::delivery::levels::Transport;
use crate::delivery::ops::Shipment;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::Job;
use crate::model::FailureKind;
use crate::ops::fd_limit::{self, AGENT_SHARDS};
use resolver::{Names, Resolver, Trust};
use wire::Dialer;

/// What is read of an answer, so that its connection can be used again; past it the connection is
/// closed (2 000 POSTs took 1 connection drained, and 2 000 undrained, measured).
const MAX_DRAINED: u64 = 64 * 1024;
/// What is kept of an answer: what the contract shows.
const MAX_KEPT: usize = 4 * 1024;
/// Each of a connection's two buffers, in bytes. They stay while a connection idles. An answer's
/// headers may be larger (`wire/head.rs`): then they take up to 64 KiB more until they are read, at
/// the worst 4 MiB with 64 workers.
const BUFFER: usize = 16 * 1024;
/// Seconds between two warnings that attempts are put off, so that a shortage doesn't fill the log.
const SAY_EVERY_SECONDS: u64 = 60;

/// Makes `webhook-signature` out of secrets, id, Unix seconds and body.
pub(super) type Sign = fn(&[Secret], &str, i64, &[u8]) -> String;

pub(super) struct Http {
    /// For destinations that the operator wrote: their addresses are theirs to choose.
    trusted: Parts,
    /// For URLs that came in with a relay. Its connections are its own, so that none is ever used
    /// that was dialled under the other's rules.
    adhoc: Parts,
    /// For destinations that are trusted by certificate authorities of their own, by name.
    private: HashMap<String, Agent>,
    clock: Arc<dyn Clock>,
    sign: Option<Sign>,
    /// When it may be said again that attempts can't be made: seconds of the monotonic clock.
    next_said: AtomicU64,
}

/// The same rules, and connections of its own for each part of the destinations. With each request ureq
/// goes through all that idle in a pool, and for each of its hosts anew; and what idles makes room for
/// whoever comes next. In one part a hundred destinations got half as much with 64 workers (measured).
struct Parts([Agent; AGENT_SHARDS]);

impl Parts {
    fn of(&self, destination: i64) -> &Agent {
        let part = destination.unsigned_abs() % AGENT_SHARDS as u64;
        &self.0[usize::try_from(part).expect("there are few")]
    }
}

impl Http {
    /// An error says which destination's certificate authorities can't be used.
    pub fn new(context: &Context, sign: Option<Sign>) -> std::io::Result<Self> {
        let delivery = &context.config.delivery;
        let policy = Arc::new(context.config.address_policy(context.own_listeners.clone()));
        let limit = fd_limit::limit();
        let idle = fd_limit::idle_per_shard(limit, delivery.workers);
        // Ad hoc URLs have look-ups of their own: their slow name servers must not keep configured
        // destinations waiting.
        let each = fd_limit::look_ups(limit) / 2;
        let (trusted_names, adhoc_names) = (Names::new(each), Names::new(each));
        let agent = |trust, names: &Arc<Names>, tls: &Arc<ClientConfig>| {
            let config = Agent::config_builder()
                // The default takes HTTP_PROXY, which would walk around every address check.
                .proxy(None)
                .max_redirects(0)
                .http_status_as_error(false)
                .timeout_resolve(Some(delivery.connect_timeout))
                .timeout_connect(Some(delivery.connect_timeout))
                .max_response_header_size(BUFFER)
                .input_buffer_size(BUFFER)
                .output_buffer_size(BUFFER)
                .max_idle_connections(idle)
                .max_idle_connections_per_host(idle)
                .user_agent(concat!("relay/", env!("CARGO_PKG_VERSION")))
                .accept(AutoHeaderValue::None)
                .accept_encoding(AutoHeaderValue::None)
                .build();
            let (policy, clock) = (Arc::clone(&policy), Arc::clone(&context.clock));
            let dialer = Dialer::new(Arc::clone(&policy), Arc::clone(tls), Arc::clone(&clock));
            let resolver = Resolver::new(trust, policy, clock, Arc::clone(names));
            Agent::with_parts(config, dialer, resolver)
        };
        let mut private = HashMap::new();
        for (name, to) in &context.config.destinations {
            if let Some(path) = &to.ca_file {
                let tls = tls::certificates(path)
                    .and_then(|certificates| tls::client(tls::Trust::File(certificates)))
                    .map_err(|error| {
                        let shown = path.display();
                        IoError::other(format!("destinations.{name}.ca_file: \"{shown}\": {error}"))
                    })?;
                private.insert(name.clone(), agent(Trust::Operator, &trusted_names, &tls));
            }
        }
        let parts = |trust, names| -> std::io::Result<Parts> {
            let may_have_file = trust == Trust::Operator;
            let tls = tls::client(tls::Trust::Public { may_have_file }).map_err(IoError::other)?;
            Ok(Parts(std::array::from_fn(|_| agent(trust, names, &tls))))
        };
        Ok(Self {
            trusted: parts(Trust::Operator, &trusted_names)?,
            adhoc: parts(Trust::AdHoc, &adhoc_names)?,
            private,
            clock: Arc::clone(&context.clock),
            sign,
            next_said: AtomicU64::new(0),
        })
    }

    /// The outcome that an error stands for. A shortage of this machine is logged.
    fn failed(&self, error: &ureq::Error, timeout: Duration) -> Box<Outcome> {
        let outcome = answer::failure(error, timeout);
        if let Some(why) = outcome.error.as_ref().filter(|_| !outcome.is_made)
            && self.may_say()
        {
            log::warn!("attempts can't be made, and are put off: {why}");
        }
        Box::new(outcome)
    }

    /// Whether a warning about a shortage is due.
    fn may_say(&self) -> bool {
        let now = self.clock.monotonic().as_secs();
        let next = self.next_said.load(Ordering::Relaxed);
        let later = now + SAY_EVERY_SECONDS;
        now >= next
            && self
                .next_said
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn run(
        &self,
        shipment: &Shipment,
        job: &Job,
        wall: Timestamp,
    ) -> Result<Outcome, Box<Outcome>> {
        let policy = &job.target.policy;
        let timeout = policy.timeout;
        let agent = if policy.is_configured() {
            let own = self.private.get(&job.target.name);
            own.unwrap_or_else(|| self.trusted.of(job.target.id))
        } else {
            self.adhoc.of(job.target.id)
        };
        let request = request::build(shipment, job, wall, self.sign).map_err(|error| {
            Box::new(Outcome::failed(
                Class::Permanent,
                FailureKind::Internal,
                error,
            ))
        })?;
        let request = agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .build();
        let start = self.clock.monotonic();
        let response = agent
            .run(request)
            .map_err(|error| self.failed(&error, timeout))?;
        trace::first_byte(self.clock.monotonic().saturating_sub(start));

        let status = response.status();
        let retry_after = answer::retry_after(response.headers(), status.as_u16(), wall);
        let location = response.headers().get(LOCATION).cloned();
        let mut kept = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_DRAINED);
        let drained = (&mut body)
            .take(MAX_KEPT as u64)
            .read_to_end(&mut kept)
            .and_then(|_| std::io::copy(&mut body, &mut std::io::sink()));
        let (class, error) = answer::classify(status, policy, location.as_ref());
        // A 2xx whose body breaks off is a broken response: what it acknowledged is not certain.
        // With any other status the status is what counts.
        if let (Class::Delivered, Err(error)) = (class, drained) {
            return Err(self.failed(&ureq::Error::from(error), timeout));
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
}

impl Transport for Http {
    fn attempt(&self, shipment: &Shipment, job: &Job, wall: Timestamp) -> Outcome {
        trace::begin();
        let outcome = self.run(shipment, job, wall);
        Outcome {
            trace: trace::take(),
            ..outcome.unwrap_or_else(|failed| *failed)
        }
    }

    fn abort(&self) {
        let all = self.trusted.0.iter().chain(&self.adhoc.0);
        for agent in all.chain(self.private.values()) {
            agent.clone().shutdown();
        }
    }
}
