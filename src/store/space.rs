use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;

/// How long a reading of the free space is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Watches the free space of the database's disk. On a full disk even a DELETE fails, so ingestion
/// stops while there is still room to settle what was accepted.
pub(super) struct Space {
    directory: PathBuf,
    min_free: u64,
    read_at: Option<Duration>,
}

impl Space {
    pub fn new(database: &Path, min_free: u64) -> Self {
        let directory = match database.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self {
            directory: directory.to_owned(),
            min_free,
            read_at: None,
        }
    }

    /// Reads the free space, unless it was read just now, and publishes whether it is enough.
    pub fn refresh(&mut self, shared: &Shared) {
        let now = shared.clock.monotonic();
        if self
            .read_at
            .is_some_and(|at| now.saturating_sub(at) < GOOD_FOR)
        {
            return;
        }
        self.read_at = Some(now);
        let low = match rustix::fs::statvfs(&self.directory) {
            Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize) < self.min_free,
            Err(error) => {
                log::warn!(error:% = error; "the disk's free space can't be read");
                false
            }
        };
        if low != shared.low_space.swap(low, Ordering::Relaxed) {
            if low {
                log::warn!(min_free_bytes = self.min_free; "little free space on the database's disk: refusing new events until there is more");
            } else {
                log::info!(
                    "there is enough free space on the database's disk again: accepting events"
                );
            }
        }
    }
}
