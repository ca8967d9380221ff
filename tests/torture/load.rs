//! A load that records its requests in the journal.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::judge::{Journal, Sent, digest};
use crate::shim::Shim;
use crate::support::{Client, KEY, relay_to};

/// Ordering keys of the bodies: few, so that events of one key follow closely.
const KEYS: u64 = 7;

/// The server's current address, if it runs.
pub type Address = Arc<Mutex<Option<SocketAddr>>>;

/// State that the load's clients share.
pub struct Target {
    pub address: Address,
    /// The URL to which relays are sent.
    pub url: String,
    pub journal: Arc<Journal>,
    pub shim: Arc<Shim>,
    /// A client's pause after a request.
    pub pace: Duration,
}

/// Running clients. Each sends one event or relay after the other, and repeats it under the same
/// key until it is acknowledged, as every client should. Some relays have no key: they are sent
/// once.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` clients, whose bodies have up to `bytes` bytes, numbered from `first`.
    pub fn start(target: Target, seed: u64, clients: u64, bytes: usize, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let target = Arc::new(target);
        let next = Arc::new(AtomicU64::new(first));
        let clients = (0..clients)
            .map(|client| {
                let (target, stop, next) =
                    (Arc::clone(&target), Arc::clone(&stop), Arc::clone(&next));
                let mut random = StdRng::seed_from_u64(seed ^ client);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        target.send(n, &mut random, bytes, &stop);
                        crate::pause(target.pace);
                    }
                })
            })
            .collect();
        Self { stop, clients }
    }

    /// Lets all clients finish their current request.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client saw nothing unexpected");
        }
    }
}

impl Target {
    fn send(&self, n: u64, random: &mut StdRng, bytes: usize, stop: &AtomicBool) {
        let filler = "x".repeat(random.random_range(0..=bytes));
        let body = format!("{{\"n\":{n},\"key\":{},\"filler\":\"{filler}\"}}", n % KEYS);
        let is_event = random.random_bool(0.5);
        // Without a key the store can't tell one from the other, if it records a request twice.
        let has_key = is_event || random.random_bool(0.75);
        // Occasionally sends an acknowledged request again.
        let again = has_key && random.random_bool(0.05);
        let mut is_acknowledged = false;
        loop {
            let sent = self.try_with(n, is_event, has_key, &body);
            let status = sent.status;
            let was_acknowledged = sent.id.is_some();
            self.journal.sent(sent);
            if was_acknowledged {
                if is_acknowledged || !again {
                    return;
                }
                is_acknowledged = true;
                continue;
            }
            assert!(
                matches!(status, None | Some(500 | 503)),
                "{n} was answered {status:?}"
            );
            // Whether one without a key was recorded isn't known.
            if !has_key || stop.load(Ordering::Relaxed) {
                return;
            }
            crate::pause(Duration::from_millis(10));
        }
    }

    /// Sends once, with a key.
    pub fn try_once(&self, n: u64, is_event: bool, body: &str) -> Sent {
        self.try_with(n, is_event, true, body)
    }

    fn try_with(&self, n: u64, is_event: bool, has_key: bool, body: &str) -> Sent {
        let key = format!("key-{n}");
        let began = self.journal.now();
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = address.and_then(|address| {
            let client = Client::of(address);
            if is_event {
                let headers = [("Idempotency-Key", key.as_str())];
                client.try_send("POST", "/webhooks/github", &headers, body.as_bytes())
            } else {
                let headers = [("X-API-Key", KEY), ("Idempotency-Key", key.as_str())];
                let headers = &headers[..=usize::from(has_key)];
                let relay = relay_to(&self.url, body);
                client.try_send("POST", "/v1/relays", headers, relay.as_bytes())
            }
        });
        let status = reply.as_ref().map(|reply| reply.status);
        let id = reply.filter(|reply| reply.status < 300).map(|reply| {
            let answer = reply.json();
            let id = if is_event { "event_id" } else { "id" };
            answer[id].as_str().expect("an id").to_owned()
        });
        Sent {
            n,
            key,
            body: digest(body.as_bytes()),
            began,
            ended: self.journal.now(),
            status,
            id,
            records: self.shim.records(),
        }
    }
}
