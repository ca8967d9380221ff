//! The metrics of the hold after a restore, and of scheduled backups.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// Whether nothing is sent, and the last scheduled backup. Rendered here, since a gauge of a
/// recorder is 0 before there is a backup: 1970.
#[derive(Debug, Default)]
pub(crate) struct BackupMetrics {
    is_held: AtomicBool,
    last: Mutex<LastBackup>,
}

/// The last backup that succeeded, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
struct LastBackup {
    at: Option<Timestamp>,
    /// Of this process alone.
    took: Option<(Duration, u64)>,
}

impl BackupMetrics {
    /// Sets whether nothing is sent.
    pub fn held(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }

    /// A scheduled backup was made by an earlier process.
    pub fn known(&self, at: Timestamp) {
        self.set(|last| last.at = Some(at));
    }

    /// A scheduled backup was made.
    pub fn made(&self, at: Timestamp, took: Duration, bytes: u64) {
        self.set(|last| {
            *last = LastBackup {
                at: Some(at),
                took: Some((took, bytes)),
            }
        });
    }

    /// Appends the figures to the rendered metrics.
    pub(super) fn render(&self, text: &mut String) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gauge = |name: &str, help: &str, value: f64| {
            write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n\n"
            )
            .expect("a text takes more text");
        };
        gauge(
            "relay_held",
            "1 while nothing is sent, since a backup was restored: until relay resume --all.",
            f64::from(u8::from(self.is_held.load(Ordering::Relaxed))),
        );
        if let Some(at) = last.at {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 milliseconds")]
            gauge(
                "relay_backup_last_success_timestamp_seconds",
                "The moment of the last scheduled backup that succeeded.",
                at.as_millis() as f64 / 1000.0,
            );
        }
        if let Some((took, bytes)) = last.took {
            gauge(
                "relay_backup_last_duration_seconds",
                "The time that it took, its verification included.",
                took.as_secs_f64(),
            );
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
            gauge("relay_backup_last_bytes", "Its size.", bytes as f64);
        }
    }

    fn set(&self, change: impl FnOnce(&mut LastBackup)) {
        change(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
