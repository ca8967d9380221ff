//! Posts by ureq alone: the limit for any executor.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::support::{body, sample};

/// A resolver that always returns one address.
#[derive(Debug)]
struct Known(SocketAddr);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

/// Posts over connections that are kept open, one for each worker.
pub struct Poster {
    agent: Agent,
    url: String,
}

impl Poster {
    pub fn new(sink: SocketAddr, workers: usize) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_idle_connections(workers)
            .max_idle_connections_per_host(workers)
            .timeout_global(Some(Duration::from_secs(15)))
            .build();
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), Known(sink)),
            url: format!("http://{sink}/hook"),
        }
    }

    pub fn post(&self, body: &[u8]) {
        let answer = self.agent.post(&self.url).send(body);
        let mut answer = answer.expect("an answer");
        answer.body_mut().read_to_vec().expect("a whole answer");
    }
}

/// Threads that only post, one for each of the executor's workers: the upper limit.
pub fn posts(sink: SocketAddr, workers: usize) -> f64 {
    let poster = Poster::new(sink, workers);
    let body = body();
    let posts = AtomicU64::new(0);
    let start = Instant::now();
    let end = start + sample();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while Instant::now() < end {
                    poster.post(body.as_bytes());
                    posts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = posts.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    rate
}
