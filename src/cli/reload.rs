//! `relay reload`: has the server read its configuration anew.
//!
//! `nodes`: the same of all nodes of a database of PostgreSQL, or of one. `pace`: how long the
//! answer is waited for.

mod nodes;
mod pace;

use std::time::Duration;

use clap::Args;
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, reading};
use crate::cli::reload::pace::{ANSWER_WITHIN, ASK_AGAIN, LOOK_EVERY};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{Config, ConfigFile as File, Resolved};
use crate::store::{ConfigAttempt, ConfigState, OnHangup, Operator};

/// An attempt that began this long before the signal still reads the file after it: the server
/// reads it twice, 50 ms apart.
const SETTLE_MILLIS: i64 = 40;

#[derive(Args)]
pub(super) struct Reload {
    #[command(flatten)]
    file: ConfigFile,
    /// Print what a reload would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The node that reloads, on PostgreSQL; without it, all that live
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Print one JSON document; of nodes, one a line
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub fn run(&self) -> Result<(), CommandError> {
        let is_blank = File::new(self.file.path())?.refuse_blank();
        let read = is_blank.map_err(CommandError::from);
        let (operator, config) = match read.and_then(|()| reading(self.file.path())) {
            Ok(found) => found,
            Err(error) => return self.tell_of_unreadable(error),
        };
        if config.database.url.is_some() {
            let names = nodes::chosen(&operator, &config, self.node.as_deref())?;
            let print = |name: &str, last: &ConfigAttempt| self.print(Some(name), last);
            return nodes::reload(&operator, &names, self.dry_run, print);
        }
        if self.node.is_some() {
            return Err("--node: the database is a file, whose one server needs no name".into());
        }
        self.reload_server(&operator, &config)
    }

    /// Has the server refuse a file that this command can't read either, so that its log, metrics
    /// and alerts tell of it.
    fn tell_of_unreadable(&self, error: CommandError) -> Result<(), CommandError> {
        let config = Config::of_unreadable(self.file.path()).map(|config| config.resolve());
        let config = config.filter(|config| !self.dry_run && config.database.url.is_none());
        let Some(config) = config else {
            return Err(error);
        };
        match Operator::reading(&config.database) {
            Ok(operator) if operator.server_process().is_ok() => {
                self.reload_server(&operator, &config)
            }
            _ => Err(error),
        }
    }

    /// Reloads the server of a file, by a signal.
    fn reload_server(&self, operator: &Operator, config: &Resolved) -> Result<(), CommandError> {
        let process = operator.server_process().map_err(|problem| {
            let path = config.database.path.display();
            format!("{problem} (if database.path was changed to {path}: that needs a restart)")
        })?;
        let clock = SystemClock::new();
        let deadline = clock.monotonic() + ANSWER_WITHIN;
        let number = process.as_raw_pid().unsigned_abs();
        let before = known_to(operator, number, &clock, deadline)?;
        match before.last.on_hangup {
            OnHangup::NotOurs => {
                return Err("the server is part of a program that embeds the relay: \
                            that program reloads it"
                    .into());
            }
            OnHangup::Ignored if !self.dry_run => {
                return Err(
                    "the server ignores SIGHUP, since it was started under nohup: \
                     reload it by POST /api/reload, or restart it without nohup"
                        .into(),
                );
            }
            _ => {}
        }
        let signal = if self.dry_run {
            Signal::USR1
        } else {
            Signal::HUP
        };
        let mut asked_at = clock.monotonic();
        let sent_at = operator.now();
        let ask = || {
            kill_process(process, signal)
                .map_err(|error| format!("process {number} can't be signalled: {error}"))
        };
        ask()?;
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = operator.config_state().map_err(explained)?;
            let is_new = now.attempts > before.attempts && now.last.process == number;
            if is_new && self.is_answer(&now.last, sent_at) {
                return self.print(None, &now.last);
            }
            let at = clock.monotonic();
            if at >= deadline {
                return Err("the server didn't answer within 10 s: its log says why".into());
            }
            if at.saturating_sub(asked_at) >= ASK_AGAIN {
                ask()?;
                asked_at = at;
            }
        }
    }

    fn is_answer(&self, last: &ConfigAttempt, sent_at: Timestamp) -> bool {
        let is_later = last.began_at.as_millis() + SETTLE_MILLIS >= sent_at.as_millis();
        last.is_dry_run == self.dry_run && is_later
    }

    /// Prints the answer of the server, or of one of several nodes.
    fn print(&self, node: Option<&str>, last: &ConfigAttempt) -> Result<(), CommandError> {
        if self.json {
            let mut answer = json!({
                "ok": last.report.is_ok(),
                "dryRun": self.dry_run,
                "generation": last.generation,
                "fingerprint": last.fingerprint,
                "changes": last.report.as_ref().ok(),
                "error": last.report.as_ref().err(),
            });
            if let Some(node) = node {
                answer["node"] = node.into();
            }
            say!("{answer}");
        }
        let report = match &last.report {
            Ok(report) => report,
            Err(error) => return Err(error.clone().into()),
        };
        if self.json {
            return Ok(());
        }
        let of = node.map_or_else(String::new, |node| format!("{node}: "));
        if self.dry_run {
            say!("{of}{report}; nothing was done");
        } else {
            let (generation, fingerprint) = (last.generation, &last.fingerprint);
            say!("{of}generation {generation}, fingerprint {fingerprint}: {report}");
        }
        Ok(())
    }
}

/// Waits until the server has recorded its configuration: one that has just started does so in a
/// moment.
fn known_to(
    operator: &Operator,
    process: u32,
    clock: &SystemClock,
    deadline: Duration,
) -> Result<ConfigState, CommandError> {
    loop {
        let state = operator.config_state().map_err(explained)?;
        if state.last.process == process {
            return Ok(state);
        }
        if clock.monotonic() >= deadline {
            return Err("the server has not recorded its configuration: its log says why".into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
