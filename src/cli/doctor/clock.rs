//! The machine's clock, compared with relay's own and with those of destinations.

use std::time::Duration;

use crate::cli::doctor::report::Report;
use crate::clock::Timestamp;

const ABOUT: &str = "clock";

/// Signatures tolerate five minutes as a rule, and a `Date` has whole seconds: from here on the
/// operator should look …
const OFF: Duration = Duration::from_secs(10);
/// … and from here on the clock is wrong.
const WRONG: Duration = Duration::from_secs(60);
const ADVICE: &str = "see that the machine's time is synchronised: timedatectl";

/// A destination's clock.
#[derive(Clone, Debug)]
pub(super) struct SeenDate {
    /// The destination.
    pub about: String,
    /// How far its clock is ahead of this machine's, in milliseconds.
    pub ahead: i64,
}

/// Compares the system's clock with the one by which everything stored was written: relay's, or
/// with a server of PostgreSQL that one's.
pub(super) fn look_at_record(
    report: &mut Report,
    is_server: bool,
    by_relay: Timestamp,
    by_system: Timestamp,
) {
    let ahead = by_relay.as_millis().saturating_sub(by_system.as_millis());
    let off = Duration::from_millis(ahead.unsigned_abs());
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    let (whose, advice) = if is_server {
        let advice = format!("{ADVICE}; and that of the server's machine");
        ("the database's, by which its nodes write", advice)
    } else {
        let advice = format!(
            "{ADVICE}; if it is right now, relay's follows slowly, and relay unlock \
             --accept-data-loss makes it follow at once"
        );
        ("relay's, by which the database was written", advice)
    };
    let fact = format!("the system's clock is {} {direction} {whose}", shown(off));
    if off >= WRONG {
        report.fail(ABOUT, fact, advice);
    } else if off >= OFF {
        report.warn(ABOUT, fact, advice);
    } else {
        let whose = if is_server {
            "the database's"
        } else {
            "relay's"
        };
        report.ok(ABOUT, format!("the system's clock and {whose} agree"));
    }
}

/// Compares the system's clock with those of destinations: where most of them differ alike, it is
/// this machine's that is off.
pub(super) fn look_at_dates(report: &mut Report, dates: &[SeenDate]) {
    if dates.is_empty() {
        return;
    }
    let mut ahead: Vec<i64> = dates.iter().map(|date| date.ahead).collect();
    ahead.sort_unstable();
    let median = ahead[ahead.len() / 2];
    let off = Duration::from_millis(median.unsigned_abs());
    let direction = if median > 0 { "behind" } else { "ahead of" };
    let fact = format!(
        "this machine's clock is {} {direction} that of {}",
        shown(off),
        match dates {
            [only] => only.about.clone(),
            _ => format!("most of {} destinations", dates.len()),
        }
    );
    let advice = format!("one of the clocks is wrong: {ADVICE}");
    if off >= WRONG {
        report.fail(ABOUT, fact, advice);
    } else if off >= OFF {
        report.warn(ABOUT, fact, advice);
    } else {
        let whose = match dates {
            [only] => only.about.clone(),
            _ => format!("{} destinations", dates.len()),
        };
        let fact = format!("this machine's clock agrees with that of {whose}");
        report.ok(ABOUT, fact);
    }
    for date in dates {
        let off = Duration::from_millis((date.ahead - median).unsigned_abs());
        if off >= WRONG {
            let fact = format!("its clock is {} off from most others", shown(off));
            let advice = "signatures that it checks may be refused for their time";
            report.warn(&date.about, fact, advice);
        }
    }
}

fn shown(off: Duration) -> String {
    format!("{} s", off.as_secs())
}

#[cfg(test)]
mod tests;
