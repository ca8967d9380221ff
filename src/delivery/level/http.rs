//! Level 2's transport: one POST through ureq.

mod answer;
mod request;
mod resolver;
mod trace;

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::super::Context;
use super::super::ops::Shipment;
use super::super::outcome::{Class, Outcome};
use super::super::pool::Job;
use super::Transport;
use crate::clock::{Clock, Timestamp};
use crate::config::Secret;
use crate::descriptors::{self, PARTS};
use crate::model::Failure;
use resolver::{Resolver, Trust};

/// What is read of an answer, so that its connection can be used again; past it the connection is
/// closed (2 000 POSTs took 1 connection drained, and 2 000 undrained, measured).
const MAX_DRAINED: u64 = 64 * 1024;
/// What is kept of an answer: what the contract shows.
const MAX_KEPT: usize = 4 * 1024;
/// A connection's buffers, and the largest headers that an answer may have.
const BUFFER: usize = 16 * 1024;

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
    timeout: Duration,
    sign: Option<Sign>,
}

/// The same rules, and connections of its own for each part of the destinations. With each request ureq
/// goes through all that idle in a pool, and for each of its hosts anew; and what idles makes room for
/// whoever comes next. In one part a hundred destinations got half as much with 64 workers (measured).
struct Parts([Agent; PARTS]);

impl Parts {
    fn of(&self, destination: i64) -> &Agent {
        let part = destination.unsigned_abs() % PARTS as u64;
        &self.0[usize::try_from(part).expect("there are few")]
    }
}

impl Http {
    /// An error says which destination's certificate authorities can't be used.
    pub fn new(context: &Context, sign: Option<Sign>) -> std::io::Result<Self> {
        let delivery = &context.config.delivery;
        let policy = Arc::new(context.config.address_policy(context.own_listeners.clone()));
        let resolver =
            |trust| Resolver::new(trust, Arc::clone(&policy), Arc::clone(&context.clock));
        let idle = descriptors::idle_in_part(descriptors::limit(), delivery.workers);
        let agent = |resolver: Resolver, roots: RootCerts| {
            let tls = TlsConfig::builder().root_certs(roots).build();
            let config = Agent::config_builder()
                .tls_config(tls)
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
            let connector = trace::Timed::new(Arc::clone(&context.clock));
            Agent::with_parts(config, connector, resolver)
        };
        let mut private = HashMap::new();
        for (name, to) in &context.config.destinations {
            if let Some(path) = &to.ca_file {
                let roots = certificates(path).map_err(|error| {
                    let shown = path.display();
                    std::io::Error::other(format!(
                        "destinations.{name}.ca_file: \"{shown}\": {error}"
                    ))
                })?;
                private.insert(name.clone(), agent(resolver(Trust::Operator), roots));
            }
        }
        let parts = |trust| {
            let resolver = resolver(trust);
            Parts(std::array::from_fn(|_| {
                agent(resolver.clone(), RootCerts::WebPki)
            }))
        };
        Ok(Self {
            trusted: parts(Trust::Operator),
            adhoc: parts(Trust::AdHoc),
            private,
            clock: Arc::clone(&context.clock),
            timeout: delivery.timeout,
            sign,
        })
    }

    fn run(
        &self,
        shipment: &Shipment,
        job: &Job,
        wall: Timestamp,
    ) -> Result<Outcome, Box<Outcome>> {
        let settings = job.target.settings.as_ref();
        let (agent, timeout) = match settings {
            Some(settings) => {
                let own = self.private.get(&job.target.name);
                let timeout = settings.timeout.unwrap_or(self.timeout);
                let all = || self.trusted.of(job.target.id);
                (own.unwrap_or_else(all), timeout)
            }
            None => (self.adhoc.of(job.target.id), self.timeout),
        };
        let request = request::build(shipment, job, wall, self.sign).map_err(|error| {
            Box::new(Outcome::failed(Class::Permanent, Failure::Internal, error))
        })?;
        let request = agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .build();
        let failed = |error: &ureq::Error| Box::new(answer::failure(error, timeout));
        let start = self.clock.monotonic();
        let response = agent.run(request).map_err(|error| failed(&error))?;
        trace::first_byte(self.clock.monotonic().saturating_sub(start));

        let status = response.status();
        let retry_after = answer::retry_after(response.headers(), status.as_u16(), wall);
        let mut kept = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_DRAINED);
        let drained = (&mut body)
            .take(MAX_KEPT as u64)
            .read_to_end(&mut kept)
            .and_then(|_| std::io::copy(&mut body, &mut std::io::sink()));
        let (class, error) = answer::classify(status, settings);
        // A 2xx whose body breaks off is a broken response: what it acknowledged is not certain.
        // With any other status the status is what counts.
        if let (Class::Delivered, Err(error)) = (class, drained) {
            return Err(failed(&ureq::Error::from(error)));
        }
        Ok(Outcome {
            class,
            failure: (class != Class::Delivered).then_some(Failure::Status),
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

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<RootCerts, String> {
    let pem = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err("expected a PEM file of certificates".to_owned());
    }
    Ok(RootCerts::from(found))
}
