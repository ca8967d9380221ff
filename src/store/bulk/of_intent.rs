//! Decides what an operation does on the deliveries of one intent.

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};
use crate::store::bulk::act::Act;
use crate::store::bulk::decide::Decider;
use crate::store::bulk::foresee::foresee;
use crate::store::bulk::reads::BulkReads;
use crate::store::bulk::selection::{Selected, selection_of};
use crate::store::types::{BulkAction, BulkTally, IntentRow, NewBulk, OfIntent, Routing};

/// The acts on the deliveries of an intent, and the deliveries for which there is none.
pub type ActsOfIntent = (Vec<Act>, OfIntent);

/// The deliveries of an intent that an operation selects, and what it does with them. None if there
/// is no such intent. Of a filter the states and the destination count: the id says the rest.
/// `has_attempts`: whether a server runs, whose attempts end before an erasure.
pub fn decide_on<R: BulkReads>(
    reads: &mut R,
    (id, new): (IntentId, &NewBulk),
    routing: &dyn Routing,
    (now, has_attempts): (Timestamp, bool),
) -> Result<Option<ActsOfIntent>, R::Error> {
    let Some(bytes) = reads.size_of(id)? else {
        return Ok(None);
    };
    let mut found = OfIntent::default();
    let selection = selection_of(new, None, None, now);
    let decider = Decider {
        routing,
        selection: &selection,
        target: new.target.as_deref(),
        has_attempts,
    };
    let mut acts = Vec::new();
    let destination = match &new.filter.destination {
        Some(name) => match reads.destination_id(name)? {
            Some(id) => Some(id),
            None => return Ok(Some((acts, found))),
        },
        None => None,
    };
    let event = Selected::event(IntentRow::of(id), bytes);
    let deliveries = reads.deliveries_of(&event, destination, now)?;
    if new.action.is_of_events() {
        let states = new.filter.states;
        let is_asked_for =
            !new.filter.is_of_deliveries() || deliveries.iter().any(|one| states.holds(one.state));
        if is_asked_for {
            let decision = decider.decide(reads, &event)?;
            found.tally.payload_gone += decision.payload_gone;
            acts = decision.acts;
        }
        return Ok(Some((acts, found)));
    }
    for selected in deliveries {
        if selected.state == DeliveryState::Processing
            && new.action.is_of_waiting(new.filter.states)
        {
            found.in_flight += 1;
        } else if !new.filter.states.holds(selected.state) {
        } else if new.action == BulkAction::Retry && selected.is_skipped {
            // Due already, or behind another in its line.
            found.tally.skipped += 1;
        } else {
            acts.extend(decider.decide(reads, &selected)?.acts);
        }
    }
    Ok(Some((acts, found)))
}

/// The result that acts would have if they were made now.
pub fn foresee_on<R: BulkReads>(
    reads: &mut R,
    (acts, of_intent): ActsOfIntent,
) -> Result<OfIntent, R::Error> {
    let mut foreseen = BulkTally::default();
    for act in &acts {
        foreseen += foresee(reads, act)?;
    }
    Ok(with_acts(of_intent, foreseen))
}

/// The result of an operation whose acts have this tally. Acts that wait for an attempt are told as
/// deliveries in flight.
pub fn with_acts(mut of_intent: OfIntent, acts: BulkTally) -> OfIntent {
    of_intent.in_flight += usize::try_from(acts.in_flight).unwrap_or(0);
    of_intent.tally += acts;
    of_intent.tally.in_flight = 0;
    of_intent
}
