//! `relay unlock`: gives up what the lock file keeps, for a database that is refused because of it, or
//! whose clock is to follow the system's at once.

use std::path::{Path, PathBuf};

use super::lock::{self, path_beside};
use super::notes::{self, LockFileRecord};
use super::{OpenError, Operator, canonical};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::model::IntentId;

/// A lock file that no server holds.
pub(crate) struct Unlock {
    database: PathBuf,
    /// Where it is.
    pub lock_file: PathBuf,
}

/// What a lock file keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// When the last event was accepted that a database has to hold.
    pub accepted_at: Option<Timestamp>,
    /// How far relay's clock is ahead of the system's, in milliseconds.
    pub ahead_millis: i64,
}

impl Kept {
    fn of(record: LockFileRecord) -> Self {
        let wall = SystemClock::new().wall();
        let accepted_at = Timestamp::from_millis(IntentId::millis_of(record.newest));
        Self {
            accepted_at: (record.newest > 0).then_some(accepted_at),
            ahead_millis: record
                .now(wall)
                .as_millis()
                .saturating_sub(wall.as_millis()),
        }
    }
}

impl Unlock {
    /// None if there is no lock file, and so nothing to give up.
    pub fn of(database: &Path) -> Result<Option<Self>, OpenError> {
        let database = canonical(database);
        let lock_file = path_beside(&database, ".lock");
        if lock_file.exists() {
            return Ok(Some(Self {
                database,
                lock_file,
            }));
        }
        if database.exists() {
            return Ok(None);
        }
        Err(OpenError::Missing { path: database })
    }

    /// What it keeps. Refused beside a server.
    pub fn kept(&self) -> Result<Kept, OpenError> {
        lock::refuse_if_held(&self.database)?;
        Ok(Kept::of(LockFileRecord::beside(&self.database)))
    }

    /// Whether the database holds the last event that was accepted, unless something else is wrong
    /// with it.
    pub fn holds_last_event(&self) -> Option<bool> {
        match Operator::reading(&self.database) {
            Ok(_) => Some(true),
            Err(OpenError::Older { .. } | OpenError::Missing { .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Gives all of it up; what that was. A server that starts meanwhile waits or is refused, and one
    /// that runs is in the way.
    pub fn reset(&self) -> Result<Kept, OpenError> {
        let lock = lock::acquire(&self.database)?;
        let kept = Kept::of(lock.notes().record());
        notes::reset(lock.file()).map_err(|source| OpenError::Lock {
            path: self.lock_file.clone(),
            source,
        })?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::FakeClock;
    use crate::store::sqlite::notes_tests::open_by;

    #[test]
    fn an_unlock_makes_the_next_start_follow_the_systems_clock_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let wall = SystemClock::new().wall();
        let hour = Duration::from_secs(3600);
        // A server that ran while the system's clock was an hour ahead.
        open_by(&directory, &Arc::new(FakeClock::at(wall.plus(hour)))).stop();
        let clock = Arc::new(FakeClock::at(wall));
        let store = open_by(&directory, &clock);
        assert_eq!(clock.now(), wall.plus(hour));
        let unlock = Unlock::of(&directory.path().join("relay.db"))
            .expect("no error")
            .expect("a lock file");
        for refused in [unlock.kept(), unlock.reset()] {
            assert!(
                matches!(refused, Err(OpenError::InUse { .. })),
                "{refused:?}"
            );
        }
        store.stop();
        let kept = unlock.reset().expect("nobody has it");
        assert_eq!(kept.accepted_at, None);
        assert!(
            (3_500_000..=3_600_000).contains(&kept.ahead_millis),
            "{kept:?}"
        );
        assert_eq!(unlock.kept().expect("nobody has it").ahead_millis, 0);
        let clock = Arc::new(FakeClock::at(wall));
        open_by(&directory, &clock).stop();
        assert_eq!(clock.now(), wall);
    }
}
