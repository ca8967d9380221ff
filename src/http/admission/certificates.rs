//! Certificates of providers, fetched by URL and kept.
//!
//! Requests name the URLs, and anybody can send a request. A certificate that hasn't verified one
//! therefore takes neither the place of one that has, nor the fetches of another URL or source.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{FetchCertificate, is_certificate};

/// Certificates kept that have verified a request. A provider has one or two, and a new one a year.
const MAX_PROVEN: usize = 12;
/// Certificates kept that haven't. A genuine request proves its own right after the fetch.
const MAX_UNPROVEN: usize = 4;
/// How often a URL is asked.
const FETCH_EVERY: Duration = Duration::from_secs(60);
/// Fetches within [`FETCH_EVERY`] for the requests of one source.
const MAX_FETCHES_OF_SOURCE: usize = 20;
/// Fetches within [`FETCH_EVERY`]: no stranger can have a provider flooded by relay.
const MAX_FETCHES: usize = 60;

/// The certificates that were fetched.
pub(in crate::http) struct Certificates {
    fetch: FetchCertificate,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// Certificates by URL, the oldest first.
type Kept = Vec<(String, Arc<Vec<u8>>)>;

#[derive(Default)]
struct State {
    proven: Kept,
    unproven: Kept,
    /// The fetches that count towards the limits.
    fetches: Vec<Fetch>,
}

struct Fetch {
    source: String,
    url: String,
    /// In monotonic time.
    at: Duration,
}

impl Certificates {
    pub fn new(fetch: FetchCertificate, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetch,
            clock,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics while holding this lock")
    }

    /// The certificate at a URL, if it was fetched.
    pub fn get(&self, url: &str) -> Option<Arc<Vec<u8>>> {
        let state = self.state();
        let mut kept = state.proven.iter().chain(&state.unproven);
        let found = kept.find(|(known, _)| known == url);
        found.map(|(_, certificate)| Arc::clone(certificate))
    }

    /// Records that the certificate at a URL verified a request.
    pub fn prove(&self, url: &str) {
        let mut state = self.state();
        let at = state.unproven.iter().position(|(known, _)| known == url);
        if let Some(at) = at {
            let (url, certificate) = state.unproven.remove(at);
            keep(&mut state.proven, MAX_PROVEN, url, certificate);
        }
    }

    /// Takes a fetch for a URL of a checked host, which a request to this source names. False if
    /// the URL was asked within the last minute, or too many others were.
    pub fn take_fetch(&self, source: &str, url: &str) -> bool {
        let now = self.clock.monotonic();
        let fetches = &mut self.state().fetches;
        fetches.retain(|fetch| now.saturating_sub(fetch.at) < FETCH_EVERY);
        let of_source = fetches.iter().filter(|fetch| fetch.source == source);
        let is_free = of_source.count() < MAX_FETCHES_OF_SOURCE
            && fetches.len() < MAX_FETCHES
            && fetches.iter().all(|fetch| fetch.url != url);
        if is_free {
            fetches.push(Fetch {
                source: source.to_owned(),
                url: url.to_owned(),
                at: now,
            });
        }
        is_free
    }

    /// Fetches the certificate at a URL. It blocks.
    pub fn fetch(&self, url: &str) {
        // Another text would take the place of a certificate.
        let fetched = (self.fetch)(url).filter(|pem| is_certificate(pem));
        if let Some(certificate) = fetched {
            let unproven = &mut self.state().unproven;
            keep(
                unproven,
                MAX_UNPROVEN,
                url.to_owned(),
                Arc::new(certificate),
            );
        }
    }
}

/// Keeps a certificate, in the place of the oldest one if there are as many as may be.
fn keep(kept: &mut Kept, most: usize, url: String, certificate: Arc<Vec<u8>>) {
    if kept.len() >= most {
        kept.remove(0);
    }
    kept.push((url, certificate));
}

#[cfg(test)]
mod tests;
