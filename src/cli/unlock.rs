//! `relay unlock`: shows what the lock file remembers, or makes it forget.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::config::Config;
use crate::store::{self, LockFileContents};

#[derive(Args)]
pub(super) struct Unlock {
    #[command(flatten)]
    file: ConfigFile,
    /// Forget, and serve the database with whatever it has lost
    #[arg(long)]
    accept_data_loss: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Unlock {
    pub fn run(&self) -> Result<(), CommandError> {
        let config = Config::load_for_commands(self.file.path())?;
        if config.database.url.is_some() {
            let problem = "the database is a server of PostgreSQL, which has no lock file: its \
                           nodes have leases, which relay nodes lists; nothing was done";
            return Err(problem.into());
        }
        let database = &config.database.path;
        let Some(unlock) = store::Unlock::of(database)? else {
            if self.json {
                say!("{}", json!({ "ok": true, "lock_file": null }));
                return Ok(());
            }
            say!(
                "{}: has no lock file, and so nothing is remembered; nothing was done",
                database.display()
            );
            return Ok(());
        };
        let lock_file = unlock.lock_file.display();
        if self.accept_data_loss {
            let forgotten = unlock.reset()?;
            if self.json {
                say!("{}", as_json(&unlock, forgotten));
                return Ok(());
            }
            let forgotten = remembered(forgotten, "");
            say!("{lock_file}: forgot {forgotten}; the next start serves the database as it is");
            return Ok(());
        }
        let kept = unlock.remembered()?;
        let state = match unlock.holds_last_event() {
            Some(true) => " (the database holds it)",
            Some(false) => " (the database lacks it, and what else it lacks would be lost, too)",
            None => " (the database can't be read)",
        };
        let remembered = remembered(kept, state);
        Err(format!(
            "{lock_file}: remembers {remembered}; relay unlock --accept-data-loss makes it \
             forget; nothing was done"
        )
        .into())
    }
}

/// The content that a lock file has forgotten.
fn as_json(unlock: &store::Unlock, forgotten: LockFileContents) -> Value {
    json!({
        "ok": true,
        "lock_file": unlock.lock_file.display().to_string(),
        "accepted_at": forgotten.accepted_at,
        "ahead_millis": forgotten.ahead_millis,
    })
}

/// The smallest difference of the clocks that is shown, in milliseconds.
const SHOWN_DIFFERENCE: u64 = 1_000;

/// The content of the lock file. `state` says whether the database holds the last event.
fn remembered(kept: LockFileContents, state: &str) -> String {
    let event = kept
        .accepted_at
        .map(|at| format!("that an event was accepted at {at}{state}"));
    let clock = (kept.ahead_millis.unsigned_abs() >= SHOWN_DIFFERENCE).then(|| {
        let seconds = kept.ahead_millis.unsigned_abs() / 1_000;
        let direction = if kept.ahead_millis < 0 {
            "behind"
        } else {
            "ahead of"
        };
        format!(
            "that relay's clock is {seconds} s {direction} the system's \
             (waits, windows and retention change by as much)"
        )
    });
    let all: Vec<_> = event.into_iter().chain(clock).collect();
    if all.is_empty() {
        "nothing that matters".to_owned()
    } else {
        all.join(", and ")
    }
}
