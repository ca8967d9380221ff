//! Sends the entries of a tail to a client as they happen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::http::admin::access::{AdminAccess, TokenDigest, Tokens};
use crate::http::api_error::ApiError;
use crate::ops::views;
use crate::ops::visible::plain_json;
use crate::stop::Stop;
use crate::store::{Store, TailCursor, TailPage, TailQuery};

/// Tails at once. Each looks at the database four times a second.
const MAX_TAILS: usize = 8;
/// Entries that wait for a client. More wait until the next look, and are then counted, and lost to
/// it.
pub(super) const MAX_QUEUED: usize = 256;
/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks without an entry after which a comment is sent: 15 s, so that no proxy takes the
/// connection for dead, and a client that is gone is noticed.
const LOOKS_UNTIL_COMMENT: u32 = 60;

/// The tails of all clients. Clones share their bound.
#[derive(Clone)]
pub(in crate::http) struct Tails {
    permits: Arc<Semaphore>,
    stop: Stop,
    /// The tokens of the configuration that runs.
    tokens: Arc<watch::Sender<Arc<Tokens>>>,
}

impl Tails {
    pub fn new(stop: Stop, access: &AdminAccess) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(MAX_TAILS)),
            stop,
            tokens: Arc::new(watch::Sender::new(access.tokens())),
        }
    }

    /// Ends the tails whose token a reload has removed.
    pub fn reload(&self, access: &AdminAccess) {
        self.tokens.send_replace(access.tokens());
    }

    /// A tail that is still to be started, if there is room for one. `token` is its client's.
    pub fn open(
        &self,
        store: &Store,
        query: TailQuery,
        token: Option<TokenDigest>,
    ) -> Result<Follower, ApiError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| {
            ApiError::overloaded(format!("{MAX_TAILS} tails are open, as many as may"))
        })?;
        Ok(Follower {
            store: store.clone(),
            query,
            stop: self.stop.clone(),
            tokens: self.tokens.subscribe(),
            token,
            _permit: permit,
        })
    }
}

/// Follows the store for one client.
pub(in crate::http) struct Follower {
    store: Store,
    query: TailQuery,
    stop: Stop,
    tokens: watch::Receiver<Arc<Tokens>>,
    /// None: no token was configured.
    token: Option<TokenDigest>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// Sends entries until the client or its token goes, or the relay stops.
    pub async fn run(self, to: Sender<Bytes>) {
        let gone = to.clone();
        tokio::select! {
            _ = self.stop.asked() => {}
            () = gone.closed() => {}
            () = self.loses_its_token() => {}
            // The client has gone, or the store has ended.
            _ = self.follow(Outlet::new(to)) => {}
        }
    }

    async fn loses_its_token(&self) {
        let mut tokens = self.tokens.clone();
        let is_gone = |tokens: &Arc<Tokens>| !tokens.lets_in(self.token.as_ref());
        // An error is the end of the relay.
        drop(tokens.wait_for(is_gone).await);
    }

    async fn follow(&self, mut outlet: Outlet) -> Result<(), Gone> {
        // Shows the client that it is connected.
        outlet.send(Bytes::from_static(b": tail\n\n")).await?;
        let mut is_past = self.query.since.is_some();
        let cursor = Arc::<Mutex<TailCursor>>::default();
        loop {
            let look = self.store.tail(self.query.clone(), Arc::clone(&cursor));
            let has_more = match look.await {
                Ok(page) => {
                    // The past waits for the client: it is in the database, and doesn't grow.
                    let patience = (!is_past).then_some(LOOK_EVERY);
                    outlet.deliver(&page, patience).await?;
                    is_past &= page.has_more;
                    page.has_more
                }
                // All connections are taken, or the database is away: the next look goes on from
                // where this one would have.
                Err(error) if error.is_passing() => false,
                Err(_) => return Ok(()),
            };
            if !has_more {
                sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// The client is gone.
#[derive(Debug)]
struct Gone;

/// Queues the entries of a tail for its client.
struct Outlet {
    to: Sender<Bytes>,
    /// How long a client without room is waited for; none: until it has.
    patience: Option<Duration>,
    /// Entries that are missing, and of which the client doesn't know.
    missed: u64,
    quiet_looks: u32,
}

impl Outlet {
    fn new(to: Sender<Bytes>) -> Self {
        Self {
            to,
            patience: None,
            missed: 0,
            quiet_looks: 0,
        }
    }

    /// Queues the entries of a page, as far as there is room by then.
    async fn deliver(&mut self, page: &TailPage, patience: Option<Duration>) -> Result<(), Gone> {
        self.patience = patience;
        if page.has_gap {
            self.missed = self.missed.max(1);
        }
        for entry in &page.entries {
            let (name, data) = views::tail_entry(entry);
            let is_sent = self.tell_gap().await? && self.send(event(name, &data)).await?;
            self.missed += u64::from(!is_sent);
        }
        self.tell_gap().await?;
        self.quiet_looks += 1;
        if !page.entries.is_empty() {
            self.quiet_looks = 0;
        } else if self.quiet_looks == LOOKS_UNTIL_COMMENT {
            self.quiet_looks = 0;
            self.send(Bytes::from_static(b":\n\n")).await?;
        }
        Ok(())
    }

    /// Says that entries are missing, if there are any; whether the client knows of all.
    async fn tell_gap(&mut self) -> Result<bool, Gone> {
        if self.missed == 0 {
            return Ok(true);
        }
        let (name, data) = views::tail_gap(self.missed);
        let is_sent = self.send(event(name, &data)).await?;
        if is_sent {
            self.missed = 0;
        }
        Ok(is_sent)
    }

    /// Queues a chunk; false if the queue stays full.
    async fn send(&mut self, chunk: Bytes) -> Result<bool, Gone> {
        let chunk = match self.to.try_send(chunk) {
            Ok(()) => return Ok(true),
            Err(TrySendError::Closed(_)) => return Err(Gone),
            Err(TrySendError::Full(chunk)) => chunk,
        };
        let sending = self.to.send(chunk);
        let sent = match self.patience {
            None => Ok(sending.await),
            Some(patience) => timeout(patience, sending).await,
        };
        if let Ok(sent) = sent {
            return sent.map(|()| true).map_err(|_| Gone);
        }
        // It isn't waited for again for the rest of the page.
        self.patience = Some(Duration::ZERO);
        Ok(false)
    }
}

/// An event of the stream. Its data is one line.
fn event(name: &str, data: &serde_json::Value) -> Bytes {
    let data = data.to_string();
    format!("event: {name}\ndata: {}\n\n", plain_json(&data)).into()
}

#[cfg(test)]
mod tests;
