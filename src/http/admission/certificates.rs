//! Certificates of providers, fetched by URL and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{FetchCertificate, is_certificate};

/// Certificates kept. A provider has one or two, and a new one a year.
const MAX_KEPT: usize = 16;
/// How often a host is asked. Requests name the URLs, and anybody can send a request.
const FETCH_EVERY: Duration = Duration::from_secs(60);
/// Hosts whose last fetch is remembered. The configuration names them, some by a wildcard.
const MAX_HOSTS: usize = 64;

/// The certificates that were fetched.
pub(in crate::http) struct Certificates {
    fetch: FetchCertificate,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By URL, in the order in which they were fetched.
    kept: Vec<(String, Arc<Vec<u8>>)>,
    /// The monotonic time of each host's last fetch.
    fetched: HashMap<String, Duration>,
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
        let found = state.kept.iter().find(|(known, _)| known == url);
        found.map(|(_, certificate)| Arc::clone(certificate))
    }

    /// Fetches the certificate at a URL of a checked host, unless its host was asked within the
    /// last minute. It blocks.
    pub fn fetch(&self, url: &str) {
        let host = url.split('/').nth(2).unwrap_or_default().to_owned();
        let now = self.clock.monotonic();
        {
            let mut state = self.state();
            let fetched = &mut state.fetched;
            fetched.retain(|_, at| now.saturating_sub(*at) < FETCH_EVERY);
            if fetched.contains_key(&host) || fetched.len() >= MAX_HOSTS {
                return;
            }
            fetched.insert(host, now);
        }
        // Another text would take the place of a certificate.
        let fetched = (self.fetch)(url).filter(|pem| is_certificate(pem));
        if let Some(certificate) = fetched {
            let mut state = self.state();
            if state.kept.len() >= MAX_KEPT {
                state.kept.remove(0);
            }
            state.kept.push((url.to_owned(), Arc::new(certificate)));
        }
    }
}

#[cfg(test)]
mod tests;
