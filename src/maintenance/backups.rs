//! Scheduled backups: one at a time, on a thread of its own while it is made.
//!
//! A pass ([`Pass::run`]) removes what an interrupted backup left, makes one, verifies it, and only
//! then deletes the oldest of those that are more than `keep`.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::config::{Backup, Live, Resolved};
use crate::ops::metrics::Metrics;
use crate::ops::notices::{Failure, Notices};
use crate::stop::Stop;
use crate::store::{
    BackupError, StopCheck, Store, StoreError, manifest_of, remove_stale_backups, verify_backup,
};

/// The pause after a failure is a quarter of the interval, within these.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long the stop of maintenance waits for a backup that is given up. It looks every few
/// milliseconds; a sync can take longer, and is left alone.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(1);

/// Begins backups when they are due.
pub(crate) struct BackupAgent {
    pass: Pass,
    stop: Stop,
    /// The result of the pass that runs.
    running: Option<Receiver<Result<Timestamp, BackupFailure>>>,
    last: LastBackup,
    next_try: Duration,
}

/// The moment of the last backup.
#[derive(Clone, Copy)]
enum LastBackup {
    /// The database has not been asked.
    Unread,
    /// None if there was none.
    Known(Option<Timestamp>),
}

/// A pass of backups, and the parts that it works with.
#[derive(Clone)]
pub(crate) struct Pass {
    pub store: Store,
    pub config: Live,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub notices: Notices,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupFailure {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("{}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the backup panicked")]
    Panicked,
}

impl BackupFailure {
    /// Its class, without anything from outside.
    fn class(&self) -> &'static str {
        match self {
            Self::Backup(error) => error.class(),
            Self::Directory { .. } => "the directory can't be used",
            Self::Store(_) => "the database refused",
            Self::Panicked => "a bug",
        }
    }
}

impl BackupAgent {
    pub fn new(pass: Pass, stop: Stop) -> Self {
        Self {
            pass,
            stop,
            running: None,
            last: LastBackup::Unread,
            next_try: Duration::ZERO,
        }
    }

    /// Begins a backup if one is due, and takes the result of one that has ended.
    pub fn run_once(&mut self) -> Result<(), StoreError> {
        self.take_result();
        let config = self.pass.config.current();
        let Some(backup) = &config.backup else {
            return Ok(());
        };
        let monotonic = self.pass.clock.monotonic();
        if self.running.is_some() || monotonic < self.next_try || !self.is_due(backup)? {
            return Ok(());
        }
        let (tell, told) = sync_channel(1);
        let (pass, stop) = (self.pass.clone(), self.stop.clone());
        let thread = std::thread::Builder::new().name("relay-backup".to_owned());
        let begun = thread.spawn(move || {
            let stop = StopCheck::new(move || stop.is_asked());
            // Maintenance may have ended.
            let _ = tell.send(pass.run(&stop));
        });
        match begun {
            Ok(_) => self.running = Some(told),
            Err(error) => {
                log::warn!(error:%; "no backup is made: the system refuses a thread");
                self.next_try = monotonic + LONGEST_PAUSE;
            }
        }
        Ok(())
    }

    /// Whether a backup is due, by relay's clock, which nobody sets.
    fn is_due(&mut self, backup: &Backup) -> Result<bool, StoreError> {
        if let LastBackup::Unread = self.last {
            let last = self.pass.store.last_backup()?;
            if let Some(at) = last {
                self.pass.metrics.backup.known(at);
            }
            self.last = LastBackup::Known(last);
        }
        let now = self.pass.clock.now();
        Ok(match self.last {
            LastBackup::Known(Some(at)) => now.since(at) >= backup.every,
            LastBackup::Known(None) | LastBackup::Unread => true,
        })
    }

    fn take_result(&mut self) {
        let Some(told) = &self.running else { return };
        let result = match told.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(BackupFailure::Panicked),
        };
        self.running = None;
        self.conclude(result);
    }

    fn conclude(&mut self, result: Result<Timestamp, BackupFailure>) {
        let notices = &self.pass.notices;
        match result {
            Ok(at) => {
                self.last = LastBackup::Known(Some(at));
                notices.succeeded(Failure::Backup);
            }
            Err(BackupFailure::Backup(BackupError::Stopped)) => {}
            Err(failure) => {
                let every = self
                    .pass
                    .config
                    .current()
                    .backup
                    .as_ref()
                    .map(|to| to.every);
                let pause = every.unwrap_or_default() / 4;
                let pause = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                self.next_try = self.pass.clock.monotonic() + pause;
                log::warn!(error:% = failure; "the backup failed");
                notices.failed(Failure::Backup, failure.class());
            }
        }
    }

    /// Waits a moment for a backup that is given up, at the end.
    pub fn finish(&mut self) {
        let Some(told) = self.running.take() else {
            return;
        };
        match told.recv_timeout(GIVE_UP_WITHIN) {
            Ok(result) => self.conclude(result),
            Err(RecvTimeoutError::Disconnected) => self.conclude(Err(BackupFailure::Panicked)),
            Err(RecvTimeoutError::Timeout) => {
                log::warn!("the backup hangs: the next one removes its unfinished file");
            }
        }
    }

    /// Whether a backup is being made.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl Pass {
    /// Makes a backup, verifies it, remembers its moment, and deletes the oldest. Blocks.
    pub fn run(&self, stop: &StopCheck) -> Result<Timestamp, BackupFailure> {
        let config = self.config.current();
        // A reload may have ended backups since.
        let Some(backup) = &config.backup else {
            return Err(BackupError::Stopped.into());
        };
        let began = self.clock.monotonic();
        prepare(&backup.directory)?;
        let made = self.make(&config, backup, stop)?;
        let took = self.clock.monotonic().saturating_sub(began);
        let at = made.manifest.taken_at;
        self.store.record_backup(at)?;
        self.metrics.backup.made(at, took, made.bytes);
        log::info!(
            file:% = made.path.display(), bytes = made.bytes, took_ms = took.as_millis();
            "backup made and verified"
        );
        let deleted = delete_oldest(backup, &made.manifest.database_id);
        deleted.map_err(|source| failed(&backup.directory, source))?;
        Ok(at)
    }

    fn make(
        &self,
        config: &Resolved,
        backup: &Backup,
        stop: &StopCheck,
    ) -> Result<crate::store::VerifiedBackup, BackupFailure> {
        let name = format!("{PREFIX}{}{SUFFIX}", self.clock.now().stamp());
        let target = backup.directory.join(name);
        let min_free = config.database.min_free_bytes;
        Ok(self.store.back_up(&target, min_free, stop.clone())?)
    }
}

const PREFIX: &str = "relay-";
const SUFFIX: &str = ".db";

/// Whether a name is that of a scheduled backup: `relay-20261126T130501Z.db`.
fn is_ours(name: &str) -> bool {
    let stamp = name.strip_prefix(PREFIX);
    let stamp = stamp.and_then(|rest| rest.strip_suffix(SUFFIX));
    stamp.is_some_and(|stamp| {
        stamp.len() == 16
            && stamp.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    })
}

fn failed(directory: &Path, source: io::Error) -> BackupFailure {
    BackupFailure::Directory {
        path: directory.to_owned(),
        source,
    }
}

/// Makes the directory, for its owner alone, and removes what interrupted backups left in it.
fn prepare(directory: &Path) -> Result<(), BackupFailure> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed(directory, error));
        }
        _ => {}
    }
    remove_stale_backups(directory, is_ours).map_err(|source| failed(directory, source))
}

/// Deletes the oldest backups of this database beyond those that are kept. One that is damaged is
/// left: nobody knows which database it is of.
fn delete_oldest(backup: &Backup, database_id: &str) -> io::Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&backup.directory)? {
        let name = entry?.file_name();
        names.extend(name.into_string().ok().filter(|name| is_ours(name)));
    }
    // The names are times.
    names.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept = 0;
    for name in names {
        let path = backup.directory.join(name);
        if !manifest_of(&path).is_ok_and(|found| found.database_id == database_id) {
            continue;
        }
        if kept < backup.keep {
            kept += 1;
            continue;
        }
        match verify_backup(&path) {
            Ok(_) => {
                fs::remove_file(&path)?;
                log::info!(file:% = path.display(); "an old backup was deleted");
            }
            Err(error) => log::warn!(error:%; "an old backup is damaged, and is left in place"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
