//! Times as a person reads them.

use std::borrow::Cow;
use std::time::Duration;

use askama::Template;

use crate::clock::Timestamp;
use crate::ops::durations::{Units, span};

/// A time: how long ago it was, or how long it is until then, and the time itself.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<time class="nowrap" datetime="{{ machine }}"
 title="{{ machine }}">{{ relative }}</time>"#
)]
pub(super) struct When {
    /// RFC 3339.
    pub machine: String,
    pub relative: String,
}

impl When {
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            machine: at.to_string(),
            relative: relative(at, now),
        }
    }
}

/// A time to the second, as it is written out: `2026-01-31 12:00:00 UTC`.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<time datetime="{{ machine }}" title="{{ machine }}">{{ written }}</time>"#
)]
pub(super) struct Moment {
    pub machine: String,
    pub written: String,
}

impl Moment {
    pub fn new(at: Timestamp) -> Self {
        let machine = at.to_string();
        Self {
            written: written(&machine),
            machine,
        }
    }
}

/// A time as it is written out.
pub(super) fn written_at(at: Timestamp) -> String {
    written(&at.to_string())
}

/// A sentence whose times, which are machines' in the API, are written out.
pub(super) fn with_written_times(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let bare = word.trim_end_matches(['.', ',', ':', ';']);
        if bare.ends_with('Z') && bare.parse::<jiff::Timestamp>().is_ok() {
            Cow::Owned(format!("{}{}", written(bare), &word[bare.len()..]))
        } else {
            Cow::Borrowed(word)
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn written(machine: &str) -> String {
    let (date, time) = machine.split_once('T').unwrap_or((machine, ""));
    let time = time.split(['.', 'Z']).next().unwrap_or_default();
    format!("{date} {time} UTC")
}

/// The distance of a time from now, in words.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        let left = at.since(now).max(Duration::from_secs(1));
        return format!("in {}", span(left, Units::Short));
    }
    let ago = now.since(at);
    if ago < Duration::from_secs(1) {
        return "just now".to_owned();
    }
    format!("{} ago", span(ago, Units::Short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_distance() {
        let now = Timestamp::from_millis(1_000_000_000_000);
        let at = |seconds: i64| Timestamp::from_millis(now.as_millis() + seconds * 1000);
        for (seconds, told) in [
            (0, "just now"),
            (-1, "1 s ago"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (-3600, "1 h ago"),
            (-5400, "1 h 30 min ago"),
            (-86_400, "24 h ago"),
            (-3 * 86_400, "3 d ago"),
            (1, "in 1 s"),
            (90, "in 1 min"),
        ] {
            assert_eq!(relative(at(seconds), now), told, "{seconds}");
        }
        assert_eq!(
            with_written_times("It is due at 2026-01-31T12:00:00.123Z. Z waits"),
            "It is due at 2026-01-31 12:00:00 UTC. Z waits"
        );
        let moment = Moment::new(now).to_string();
        assert!(moment.contains(">2001-09-09 01:46:40 UTC<"), "{moment}");
    }
}
