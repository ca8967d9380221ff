//! Reloads of the nodes of a database of PostgreSQL. They may run on other machines: they are asked
//! through the database, and each reads the file that it was started with.

use std::time::Duration;

use crate::cli::error::{CommandError, is_broken_pipe};
use crate::cli::operate::explained;
use crate::cli::reload::pace::{ANSWER_WITHIN, ASK_AGAIN, LOOK_EVERY};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Resolved;
use crate::store::{ConfigAttempt, OnHangup, Operator};

/// Has these nodes reload, all at once, and prints each one's answer.
pub(super) fn reload(
    operator: &Operator,
    names: &[String],
    is_dry_run: bool,
    print: impl Fn(&str, &ConfigAttempt) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let clock = SystemClock::new();
    let deadline = clock.monotonic() + ANSWER_WITHIN;
    let asked = names
        .iter()
        .map(|name| Asked::new(operator, name, is_dry_run));
    let asked: Vec<_> = asked.collect();
    let mut failed = Vec::new();
    for (name, asked) in names.iter().zip(asked) {
        let answer = asked.and_then(|asked| asked.answer(operator, &clock, deadline));
        match answer.and_then(|last| print(name, &last)) {
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(why) => failed.push(format!("{name}: {why}")),
            Ok(()) => {}
        }
    }
    match (failed.as_slice(), names.len()) {
        ([], _) => Ok(()),
        ([only], 1) => Err(only.clone().into()),
        (several, all) => {
            for why in several {
                hint!("{why}");
            }
            Err(format!("{} of {all} nodes were not reloaded", several.len()).into())
        }
    }
}

/// The names of the nodes that live: of all, or the one that is asked for.
pub(super) fn chosen(
    operator: &Operator,
    config: &Resolved,
    only: Option<&str>,
) -> Result<Vec<String>, CommandError> {
    let found = operator.nodes(&config.node).map_err(explained)?;
    let living = found.into_iter();
    let living = living.filter(|node| node.lease_left != Some(Duration::ZERO));
    let living: Vec<_> = living.map(|node| node.name).collect();
    if living.is_empty() {
        return Err("no node is running: each reads its configuration as it starts".into());
    }
    match only {
        None => Ok(living),
        Some(name) if living.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(format!(
            "--node: {name:?}: expected a node that lives: {}",
            living.join(", ")
        )
        .into()),
    }
}

/// A node that was asked.
struct Asked<'a> {
    name: &'a str,
    is_dry_run: bool,
    /// Of the request.
    number: i64,
}

impl<'a> Asked<'a> {
    fn new(operator: &Operator, name: &'a str, is_dry_run: bool) -> Result<Self, CommandError> {
        let state = operator.config_state_of(name).map_err(explained)?;
        if state.last.on_hangup == OnHangup::NotOurs {
            return Err(
                "it is part of a program that embeds the relay: that program reloads \
                        it"
                .into(),
            );
        }
        let mut asked = Self {
            name,
            is_dry_run,
            number: 0,
        };
        asked.ask(operator)?;
        Ok(asked)
    }

    fn ask(&mut self, operator: &Operator) -> Result<(), CommandError> {
        let number = operator.ask_to_reload(self.name, self.is_dry_run);
        let ended = || CommandError::from("it has ended meanwhile");
        self.number = number.map_err(explained)?.ok_or_else(ended)?;
        Ok(())
    }

    /// Waits for the answer. Another command's may have taken its place before it was seen.
    fn answer(
        mut self,
        operator: &Operator,
        clock: &SystemClock,
        deadline: Duration,
    ) -> Result<ConfigAttempt, CommandError> {
        let mut asked_at = clock.monotonic();
        loop {
            let found = operator.reload_answer(self.name, self.number, self.is_dry_run);
            if let Some(last) = found.map_err(explained)? {
                return Ok(last);
            }
            let now = clock.monotonic();
            if now >= deadline {
                return Err("it didn't answer within 10 s: its log says why".into());
            }
            if now.saturating_sub(asked_at) >= ASK_AGAIN {
                self.ask(operator)?;
                asked_at = now;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
