//! Operations on single relays and events.

use std::collections::HashSet;
use std::time::Duration;

use crate::cli::bulk::context::Context;
use crate::cli::bulk::emptying::empty_wal;
use crate::cli::bulk::report::{Form, report};
use crate::cli::bulk::selection::Selection;
use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::maintenance::ConfiguredRouting;
use crate::model::{DeliveryState, IntentId};
use crate::store::{BulkAction, BulkTally, NewBulk, OfIntent, StateSet, StoredIntent};

/// How often a command looks again for deliveries that are in flight: half a minute in all.
const LOOKS: usize = 30;
/// The same of an erasure, which has to wait for the end of each attempt: ten minutes.
const LOOKS_OF_ERASE: usize = 600;
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(
    context: &mut Context,
    selection: &Selection,
    new: &NewBulk,
) -> Result<(), CommandError> {
    let routing = ConfiguredRouting(&context.config);
    let operator = &mut context.operator;
    let mut tally = BulkTally::default();
    let mut in_flight = Vec::new();
    let mut seen = HashSet::new();
    let mut unknown = 0;
    // An id that is given twice is one event: a dry run would count it twice.
    for id in selection.ids.iter().filter(|id| seen.insert(**id)) {
        let found = if selection.dry_run {
            operator.preview_on(*id, new, &routing)
        } else {
            operator.act_on(*id, new, &routing)
        };
        let found = found.map_err(explained)?;
        tally += found.unwrap_or_default().tally;
        in_flight.extend(found.filter(|one| one.in_flight > 0).map(|_| *id));
        if found.is_none_or(|one| one == OfIntent::default()) && !selection.json {
            let intent = operator.intent(*id).map_err(explained)?;
            hint!("{id}: {}", nothing_to_do(new, intent.as_ref()));
        }
        unknown += usize::from(found.is_none());
    }
    if selection.dry_run {
        let left = i64::try_from(in_flight.len()).unwrap_or(i64::MAX);
        report(new.action, tally, left, Form::of(selection))?;
        return all_are_known(unknown, seen.len());
    }
    let (later, left) = look_again(context, new, in_flight)?;
    tally += later;
    if new.action == BulkAction::Erase {
        empty_wal(&context.operator)?;
    }
    report(new.action, tally, left, Form::of(selection))?;
    if tally.done == 0 && tally.skipped == 0 {
        return Err("nothing was done".into());
    }
    all_are_known(unknown, seen.len())
}

/// A command that did a part of what it was told to has failed.
fn all_are_known(unknown: usize, all: usize) -> Result<(), CommandError> {
    if unknown > 0 {
        return Err(format!("{unknown} of {all} ids name no relay or event").into());
    }
    Ok(())
}

/// Looks again for deliveries that were in flight, if the operation takes deliveries away: an
/// attempt ends, and one that is prefetched comes back. Returns the tally, and how many are left.
fn look_again(
    context: &mut Context,
    new: &NewBulk,
    mut in_flight: Vec<IntentId>,
) -> Result<(BulkTally, i64), CommandError> {
    let routing = ConfiguredRouting(&context.config);
    let operator = &mut context.operator;
    let mut tally = BulkTally::default();
    let looks = match new.action {
        BulkAction::Discard | BulkAction::Reroute => LOOKS,
        BulkAction::Erase => LOOKS_OF_ERASE,
        _ => 0,
    };
    for _ in 0..looks {
        if in_flight.is_empty() || !operator.has_server() {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
        let mut left = Vec::new();
        for id in in_flight {
            let found = operator.act_on(id, new, &routing).map_err(explained)?;
            let found = found.unwrap_or_default();
            tally += found.tally;
            left.extend((found.in_flight > 0).then_some(id));
        }
        in_flight = left;
    }
    Ok((tally, i64::try_from(in_flight.len()).unwrap_or(i64::MAX)))
}

/// Says why there was nothing to do, and which command there is for it.
fn nothing_to_do(new: &NewBulk, intent: Option<&StoredIntent>) -> String {
    let Some(intent) = intent else {
        return "there is no such relay or event".to_owned();
    };
    let has = |states: StateSet| {
        let mut all = intent.deliveries.iter();
        all.any(|one| states.holds(one.state) && one.discarded_at.is_none())
    };
    let states = new.filter.states;
    let has_not = if new.action == BulkAction::Route {
        "has all deliveries that today's routes want"
    } else if states == StateSet::DEAD_LETTERED {
        "has no dead letter"
    } else if states.is_within(StateSet::WAITING) {
        "has no delivery that waits"
    } else {
        "has no delivery in this state"
    };
    let is_replay = new.action == BulkAction::Replay;
    let hint = if is_replay && has(StateSet::DELIVERED) {
        "; it was delivered: --status delivered sends it once more"
    } else if is_replay && has(StateSet::WAITING) {
        "; it waits: relay retry makes it due now"
    } else if new.action == BulkAction::Discard && has(StateSet::WAITING) {
        "; it waits: --pending gives it up"
    } else if has(StateSet::of(DeliveryState::Processing)) {
        "; an attempt is under way"
    } else if intent
        .deliveries
        .iter()
        .any(|one| one.discarded_at.is_some())
    {
        "; it was discarded"
    } else if !is_replay && has(StateSet::DEAD_LETTERED) {
        "; it is a dead letter: relay replay sends it once more"
    } else {
        ""
    };
    format!("{has_not}{hint}")
}
