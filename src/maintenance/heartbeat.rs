//! The heartbeat: tells a dead man's switch, at intervals, that the relay works.
//!
//! It is sent only while the writer commits and the dispatcher ticks, so that its absence tells of
//! a full disk, a stuck writer and a dead process alike.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::HeartbeatPolicy;
use crate::model::SendHeartbeat;
use crate::ops::pulse::Pulse;
use crate::stop::{Ending, Stop};
use crate::store::{Store, StoreError};

/// The pause before the first beat: the dispatcher has ticked by then.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// A dispatcher that has not ticked for so long hangs: it ticks each second, and a tick waits for
/// a commit.
const HANGS_AFTER: Duration = Duration::from_secs(15);

/// Sends heartbeats.
pub(crate) struct Heartbeat {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    /// The dispatcher's.
    pub pulse: Pulse,
    pub send: SendHeartbeat,
    pub url: String,
    pub every: Duration,
    /// Whether the last beat was sent, so that a change is logged once.
    pub is_beating: bool,
}

impl Heartbeat {
    pub fn new(
        policy: &HeartbeatPolicy,
        store: Store,
        clock: Arc<dyn Clock>,
        pulse: Pulse,
        send: SendHeartbeat,
    ) -> Self {
        Self {
            store,
            clock,
            pulse,
            send,
            url: policy.url.reveal().to_owned(),
            every: policy.every,
            is_beating: true,
        }
    }

    /// Makes sure that the relay works, and sends a beat. An error says why none was sent; it never
    /// holds the URL.
    pub fn beat(&self) -> Result<(), String> {
        if self.store.is_held() {
            return Err("nothing is sent until relay resume --all".to_owned());
        }
        match self.store.readiness() {
            Ok(()) => {}
            Err(unready) => return Err(unready.reason().to_owned()),
        }
        // Blocks for as long as the writer does.
        match self.store.commit_probe() {
            Ok(()) => {}
            Err(StoreError::Stopped) => return Err("relay stops".to_owned()),
            Err(error) => return Err(format!("the writer commits nothing: {error}")),
        }
        let since = self.pulse.since(self.clock.monotonic());
        if since.is_none_or(|since| since > HANGS_AFTER) {
            return Err("the dispatcher hangs".to_owned());
        }
        (self.send)(&self.url)
    }

    fn run(&mut self, stop: &Stop) {
        let mut rest = FIRST_AFTER;
        while !stop.wait(rest) {
            let beat = self.beat();
            if stop.deadline().is_some() {
                return;
            }
            let was_beating = std::mem::replace(&mut self.is_beating, beat.is_ok());
            match beat {
                Err(reason) if was_beating => {
                    log::warn!(reason; "no heartbeat is sent");
                }
                Ok(()) if !was_beating => log::info!("heartbeats are sent again"),
                _ => {}
            }
            rest = self.every;
        }
    }
}

/// Starts the heartbeat on a thread of its own: it waits for its receiver.
pub(crate) fn start(mut heartbeat: Heartbeat, stop: Stop) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-heartbeat".to_owned());
    running.spawn(thread, move || {
        // Without it the receiver raises the alarm, which is what a broken heartbeat is for.
        if catch_unwind(AssertUnwindSafe(|| heartbeat.run(&stop))).is_err() {
            log::error!("the heartbeat panicked: none is sent any more");
        }
    })?;
    Ok(ended)
}

#[cfg(test)]
mod tests;
