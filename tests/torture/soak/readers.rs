//! Clients that read while the faults go on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::judge::Journal;
use crate::load::Address;
use crate::support::{Client, KEY, Reply, document};

/// Running readers of pages of relays and single events.
pub struct Readers {
    pub stop: Arc<AtomicBool>,
    pub answers: Arc<AtomicU64>,
    pub threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub fn start(address: &Address, journal: &Arc<Journal>, many: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let threads = (0..many)
            .map(|_| {
                let (address, journal) = (Arc::clone(address), Arc::clone(journal));
                let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
                std::thread::spawn(move || {
                    let mut token: Option<String> = None;
                    while !stop.load(Ordering::Relaxed) {
                        let mut path = "/v1/relays?pageSize=50".to_owned();
                        if let Some(token) = token.take() {
                            write!(path, "&pageToken={token}").expect("a String takes all");
                        }
                        if let Some(page) = read(&address, &path) {
                            answers.fetch_add(1, Ordering::Relaxed);
                            if page.status == 200 {
                                let next = page.json()["nextPageToken"].as_str().map(str::to_owned);
                                token = next;
                            }
                        }
                        if let Some(id) = journal.latest_event()
                            && read(&address, &format!("/events/{id}")).is_some()
                        {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        crate::pause(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        Self {
            stop,
            answers,
            threads,
        }
    }

    /// Stops the readers; returns the number of answers.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.threads {
            reader.join().expect("a reader saw nothing unexpected");
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// An answer, if it is complete: a kill may truncate a long one.
pub fn read(address: &Address, path: &str) -> Option<Reply> {
    let address = (*address.lock().expect("nobody panics holding this"))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nX-API-Key: {KEY}\r\n\r\n"
    );
    let reply = Client::of(address).try_raw(request.as_bytes())?;
    let length: usize = reply.header("content-length")?.parse().ok()?;
    if reply.body.len() < length {
        return None;
    }
    document::check("GET", path, &reply);
    // Delivered events are deleted soon.
    assert!(
        matches!(reply.status, 200 | 404 | 503),
        "{path}: {}",
        reply.text()
    );
    Some(reply)
}
