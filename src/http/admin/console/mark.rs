//! States by word, shape and colour: nobody needs the colour.

use askama::Template;

use super::last_hour::LastHour;
use super::when::When;
use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::DeliveryState;
use crate::store::{DestinationOverview, KeepReason, Obstacles};

/// The tone of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Busy,
    Waits,
    Bad,
    Idle,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Waits => "waits",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }

    /// The shape, as a path in a square of twelve.
    fn shape(self) -> &'static str {
        match self {
            // A disc.
            Self::Good => "M6 1a5 5 0 1 1 0 10a5 5 0 0 1 0-10z",
            // An arrow to the right.
            Self::Busy => "M1 1l10 5l-10 5z",
            // Two bars.
            Self::Waits => "M2 1h3v10h-3zM7 1h3v10h-3z",
            // A diamond.
            Self::Bad => "M6 0l6 6l-6 6l-6-6z",
            // A ring.
            Self::Idle => "M6 1a5 5 0 1 1 0 10a5 5 0 0 1 0-10zM6 3a3 3 0 1 0 0 6a3 3 0 0 0 0-6z",
        }
    }
}

/// A state.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<span class="mark {{ tone.class() }}"><svg viewBox="0 0 12 12" width="10" height="10" aria-hidden="true"><path d="{{ tone.shape() }}"/></svg>{{ word }}</span>"#
)]
pub(super) struct Mark {
    pub word: String,
    pub tone: Tone,
}

impl Mark {
    pub fn new(word: &str, tone: Tone) -> Self {
        let word = word.to_owned();
        Self { word, tone }
    }

    /// The state of a delivery.
    pub fn of_delivery(state: DeliveryState, is_discarded: bool) -> Self {
        let tone = match state {
            DeliveryState::Queued => Tone::Idle,
            DeliveryState::Processing => Tone::Busy,
            DeliveryState::Retrying => Tone::Waits,
            DeliveryState::Delivered => Tone::Good,
            DeliveryState::DeadLettered => Tone::Bad,
        };
        if is_discarded {
            return Self::new("discarded", Tone::Idle);
        }
        Self::new(state.name().replace('_', " ").as_str(), tone)
    }

    /// The outcome of an attempt, or an entry of a history that is none.
    pub fn of_outcome(outcome: &str) -> Self {
        match outcome {
            "delivered" => Self::new("delivered", Tone::Good),
            "transient" => Self::new("failed, tried again", Tone::Waits),
            "permanent" => Self::new("failed for good", Tone::Bad),
            other => Self::new(other, Tone::Idle),
        }
    }
}

/// The state of a destination, with its reason.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{{ mark|safe }}{% if !detail.is_empty() || at.is_some() %} <span class="soft small">{{ detail }}{% if let Some(at) = at %}{% if !detail.is_empty() %} {% endif %}{{ at|safe }}{% endif %}{{ reason }}</span>{% endif %}"#
)]
pub(super) struct DestinationMark {
    mark: Mark,
    detail: String,
    at: Option<When>,
    /// Of a pause, with the sign before it.
    reason: String,
}

impl DestinationMark {
    /// The state at `now`. An ad hoc origin is not known to fail.
    pub fn new(
        one: &DestinationOverview,
        config: &Resolved,
        now: Timestamp,
        hour: &LastHour,
    ) -> Self {
        let is_failing = hour.is_failing(&one.name);
        let of = |word, tone, detail: &str, at: Option<Timestamp>| Self {
            mark: Mark::new(word, tone),
            detail: detail.to_owned(),
            at: at.map(|at| When::new(at, now)),
            reason: String::new(),
        };
        match keep_reason(one, config, now) {
            Some(KeepReason::UnknownDestination) => {
                of("not configured", Tone::Idle, "nothing is sent", None)
            }
            Some(KeepReason::Paused) => {
                let pause = one.paused.as_ref();
                let reason = pause.map_or("", |pause| pause.reason.as_str());
                Self {
                    reason: told_reason(reason),
                    ..of("paused", Tone::Waits, "", pause.map(|pause| pause.at))
                }
            }
            Some(KeepReason::Held(until)) => {
                of("held", Tone::Waits, "by Retry-After, ends", Some(until))
            }
            Some(KeepReason::BreakerOpen(probe_at)) => {
                of("breaker open", Tone::Bad, "next probe", Some(probe_at))
            }
            None if is_failing => of("failing", Tone::Bad, "no success in 5 min", None),
            None => of("healthy", Tone::Good, "", None),
        }
    }
}

/// The reason of a pause, after the time when it began. Without one, the reason names the person.
fn told_reason(reason: &str) -> String {
    match reason {
        "" => String::new(),
        by if by.starts_with("by ") => format!(" {by}"),
        reason => format!(": {reason}"),
    }
}

/// Why a destination's deliveries are kept back.
pub(super) fn keep_reason(
    one: &DestinationOverview,
    config: &Resolved,
    now: Timestamp,
) -> Option<KeepReason> {
    let obstacles = Obstacles {
        is_paused: one.paused.is_some(),
        held_until: one.held_until,
        probe_at: one.probe_at,
    };
    obstacles.reason(config.is_deliverable(&one.name), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_tells_its_begin_before_its_reason() {
        let now = Timestamp::from_millis(1_000_000);
        let told = |reason| {
            let mark = DestinationMark {
                mark: Mark::new("paused", Tone::Waits),
                detail: String::new(),
                at: Some(When::new(now, now)),
                reason: told_reason(reason),
            };
            let html = mark.to_string();
            let (_, text) = html.split_once("just now</time>").expect("the time");
            text.strip_suffix("</span>").expect("an end").to_owned()
        };
        assert_eq!(told("until Monday"), ": until Monday");
        assert_eq!(told("by OPS_TOKEN"), " by OPS_TOKEN");
        assert_eq!(told(""), "");
    }
}
