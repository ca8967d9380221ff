//! The service manager that started the process, such as systemd: relay tells it when it has
//! started, reloads, stops, and that it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// The time by which a start asks to be waited for, again and again while it lasts: a migration
/// and the recovery of a large database take minutes.
const START_EXTENSION: Duration = Duration::from_secs(30);
/// The time by which a stop may last longer than the grace: see the table of the stop.
const STOP_OVERTIME: Duration = Duration::from_secs(15);

/// The service manager, if there is one that listens; clones share it. Without one all of this does
/// nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager(Option<Arc<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether a message was lost, so that the first is logged.
    has_failed: AtomicBool,
}

/// A reload that the service manager was told of. Its end is told when this is dropped, also if the
/// reload was refused: systemd would wait for it for ever.
pub(crate) struct Reloading<'a>(&'a ServiceManager);

impl ServiceManager {
    /// The one that the environment names (`NOTIFY_SOCKET`).
    pub fn from_environment() -> Self {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| !name.is_empty());
        Self(is_there.then(Arc::default))
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The time within which it wants to hear that the process works, again and again.
    pub fn watchdog(&self) -> Option<Duration> {
        let limit = self.0.as_ref().and_then(|_| sd_notify::watchdog_enabled());
        limit.filter(|limit| !limit.is_zero())
    }

    /// The start goes on: a timeout of the start begins anew.
    pub fn starting(&self) {
        self.tell(&[
            extension(START_EXTENSION),
            NotifyState::Status("starting: opening the database, bringing it up to date"),
        ]);
    }

    /// The start is over. `status` says where relay listens.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload begins.
    pub fn reloading(&self) -> Reloading<'_> {
        if self.is_there() {
            match NotifyState::monotonic_usec_now() {
                Ok(now) => self.tell(&[NotifyState::Reloading, now]),
                Err(error) => log::debug!(error:%; "the monotonic clock can't be read"),
            }
        }
        Reloading(self)
    }

    /// The stop begins, and may take `grace` and a little more.
    pub fn stopping(&self, grace: Duration) {
        self.tell(&[
            NotifyState::Stopping,
            extension(grace.saturating_add(STOP_OVERTIME)),
            NotifyState::Status("stopping: draining requests and attempts"),
        ]);
    }

    /// The process works.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, messages: &[NotifyState<'_>]) {
        let Some(inner) = &self.0 else { return };
        if let Err(error) = sd_notify::notify(messages)
            && !inner.has_failed.swap(true, Ordering::Relaxed)
        {
            log::warn!(error:%; "the service manager (NOTIFY_SOCKET) can't be told anything");
        }
    }
}

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        self.0.tell(&[NotifyState::Ready]);
    }
}

fn extension(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}
