//! A common bound for the lines of ad hoc origins: an API key's owner makes up as many of them as
//! they like.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::outage_log::line::Line;

/// Lines of all ad hoc origins together in a window: as many as a person reads at a glance.
pub(super) const LINES: u64 = 10;
/// The window. Its end brings one more line, about the withheld ones.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Counts lines in windows. Each window begins with a line.
#[derive(Debug, Default)]
pub(super) struct AdhocLimit {
    began_at: Option<Timestamp>,
    /// Lines of this window that were written.
    written: u64,
    withheld: Withheld,
}

#[derive(Clone, Copy, Debug, Default)]
struct Withheld {
    lines: u64,
    failing: u64,
    recovered: u64,
    failures: u64,
    dead_letters: u64,
}

impl Withheld {
    fn add(&mut self, line: &Line) {
        self.lines += 1;
        match line {
            Line::Failing { .. } | Line::StillFailing { .. } => self.failing += 1,
            Line::Recovered { .. } => self.recovered += 1,
            Line::Failure { .. } => self.failures += 1,
            Line::Failures { failures, .. } => self.failures += failures,
            Line::DeadLetter { .. } => self.dead_letters += 1,
            Line::DeadLetters { dead_letters, .. } => self.dead_letters += dead_letters,
            Line::Paused { .. } | Line::Withheld { .. } => {}
        }
    }
}

impl AdhocLimit {
    /// The summary of the last window, if it is over and lines were withheld in it.
    pub fn due(&mut self, now: Timestamp) -> Option<Line> {
        let began_at = self.began_at?;
        if now.since(began_at) < WINDOW {
            return None;
        }
        let withheld = std::mem::take(self).withheld;
        (withheld.lines > 0).then(|| Line::Withheld {
            lines: withheld.lines,
            failing: withheld.failing,
            recovered: withheld.recovered,
            failures: withheld.failures,
            dead_letters: withheld.dead_letters,
            seconds: now.since(began_at).as_secs(),
        })
    }

    /// Whether a line may be written. The caller has asked [`Self::due`] at this time.
    pub fn admits(&mut self, line: &Line, now: Timestamp) -> bool {
        self.began_at.get_or_insert(now);
        if self.written < LINES {
            self.written += 1;
            return true;
        }
        self.withheld.add(line);
        false
    }
}
