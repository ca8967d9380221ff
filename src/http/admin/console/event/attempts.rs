//! The history of a delivery, each attempt with a timeline.

use crate::http::admin::console::event::bytes::{Shown, show_text};
use crate::http::admin::console::mark::Mark;
use crate::http::admin::console::visit::grouped;
use crate::http::admin::console::when::Moment;
use crate::store::StoredAttempt;

/// The width of a timeline in its own units.
const WIDTH: i64 = 1000;
/// The narrowest part that is visible.
const NARROWEST: i64 = 4;

/// An entry of a history.
pub(super) struct Entry {
    /// The attempt's number; none of a replay.
    pub number: Option<u32>,
    pub started: Moment,
    pub mark: Mark,
    pub status_code: String,
    pub error: String,
    pub address: String,
    pub took: String,
    pub parts: Vec<Part>,
    /// The parts in words.
    pub phases: String,
    pub answer: Option<Shown>,
    pub next: String,
    /// Of its details on the page.
    pub anchor: String,
}

/// A part of a timeline.
pub(super) struct Part {
    pub class: &'static str,
    pub x: i64,
    pub width: i64,
    pub title: String,
}

/// A history, and the width of whose timelines stands for its longest attempt.
pub(super) fn entries(history: &[StoredAttempt], delivery: usize) -> Vec<Entry> {
    let longest = history.iter().map(|one| one.duration_ms).max();
    let longest = longest.unwrap_or(0).max(1);
    let entries = history.iter().enumerate().rev();
    let entries = entries.map(|(at, one)| Entry::new(one, longest, format!("a-{delivery}-{at}")));
    entries.collect()
}

impl Entry {
    fn new(one: &StoredAttempt, longest: i64, anchor: String) -> Self {
        let parts = parts(one, longest);
        let phases: Vec<_> = parts.iter().map(|part| part.title.as_str()).collect();
        Self {
            number: (one.attempt > 0).then_some(one.attempt),
            started: Moment::new(one.started_at),
            mark: Mark::of_outcome(one.outcome),
            status_code: one
                .status_code
                .map(|code| code.to_string())
                .unwrap_or_default(),
            error: one.error.clone().unwrap_or_default(),
            address: one.address.clone().unwrap_or_default(),
            took: format!("{} ms", grouped(one.duration_ms)),
            phases: phases.join(", "),
            parts,
            answer: answer(one),
            next: one.next.clone().unwrap_or_default(),
            anchor,
        }
    }
}

fn answer(one: &StoredAttempt) -> Option<Shown> {
    let response = one.response.as_deref()?;
    (!response.is_empty()).then(|| show_text(response))
}

/// The parts of an attempt, one after the other. An attempt on a connection that was there has no
/// look-up and no connect.
fn parts(one: &StoredAttempt, longest: i64) -> Vec<Part> {
    let total = one.duration_ms.max(0);
    let resolved = one.resolve_ms.unwrap_or(0).clamp(0, total);
    let connected = resolved
        .saturating_add(one.connect_ms.unwrap_or(0).max(0))
        .min(total);
    // The handshake is the last part of the time that the connection took.
    let handshake = one.tls_ms.unwrap_or(0).max(0);
    let opened = connected.saturating_sub(handshake).max(resolved);
    let answered = one
        .first_byte_ms
        .unwrap_or(connected)
        .clamp(connected, total);
    let steps = [
        ("resolve", "look-up", 0, resolved),
        ("connect", "connect", resolved, opened),
        ("tls", "TLS", opened, connected),
        ("answer", "first byte", connected, answered),
        ("rest", "rest", answered, total),
    ];
    let steps = steps.into_iter().filter(|(.., from, to)| to > from);
    let parts = steps.map(|(class, name, from, to)| {
        let x = from.saturating_mul(WIDTH) / longest;
        let width = (to - from).saturating_mul(WIDTH) / longest;
        Part {
            class,
            x: x.min(WIDTH - NARROWEST),
            width: width.max(NARROWEST),
            title: format!("{name} {} ms", grouped(to - from)),
        }
    });
    parts.collect()
}

/// The latest attempt that was begun, for tests.
#[cfg(test)]
pub(super) fn attempt(duration_ms: i64) -> StoredAttempt {
    StoredAttempt {
        attempt: 1,
        started_at: crate::clock::Timestamp::from_millis(0),
        duration_ms,
        outcome: "delivered",
        status_code: Some(200),
        error: None,
        response: None,
        failure: None,
        address: None,
        resolve_ms: None,
        connect_ms: None,
        tls_ms: None,
        first_byte_ms: None,
        next: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_timeline_follow_each_other() {
        let one = StoredAttempt {
            resolve_ms: Some(10),
            connect_ms: Some(30),
            tls_ms: Some(20),
            first_byte_ms: Some(90),
            ..attempt(100)
        };
        let parts = parts(&one, 200);
        let shown: Vec<_> = parts
            .iter()
            .map(|part| (part.class, part.x, part.width))
            .collect();
        let expected = [
            ("resolve", 0, 50),
            ("connect", 50, 50),
            ("tls", 100, 100),
            ("answer", 200, 250),
            ("rest", 450, 50),
        ];
        assert_eq!(shown, expected);
        assert_eq!(parts[1].title, "connect 10 ms");
        assert_eq!(parts[2].title, "TLS 20 ms");
    }

    #[test]
    fn an_attempt_on_an_open_connection_has_an_answer_alone() {
        let one = StoredAttempt {
            first_byte_ms: Some(100),
            ..attempt(100)
        };
        let parts = parts(&one, 100);
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].class, parts[0].width), ("answer", 1000));
    }

    #[test]
    fn times_that_contradict_each_other_stay_within_the_bar() {
        let one = StoredAttempt {
            resolve_ms: Some(i64::MAX),
            connect_ms: Some(i64::MAX),
            tls_ms: Some(i64::MAX),
            first_byte_ms: Some(-5),
            ..attempt(7)
        };
        let late_handshake = StoredAttempt {
            resolve_ms: Some(2),
            connect_ms: Some(3),
            tls_ms: Some(4),
            ..attempt(7)
        };
        for one in [one, late_handshake] {
            for part in parts(&one, 7) {
                assert!(part.x >= 0 && part.x + part.width <= WIDTH + NARROWEST);
            }
        }
        assert!(parts(&attempt(0), 1).is_empty());
    }
}
