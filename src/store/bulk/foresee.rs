//! The outcome of an act that is not made, for a dry run.

use crate::store::bulk::act::{Act, Does};
use crate::store::bulk::reads::BulkReads;
use crate::store::types::{BulkAction, BulkTally, GoneReason, IntentRow};

/// The tally of an act, as it would be if it were made now.
pub fn foresee<R: BulkReads>(reads: &mut R, act: &Act) -> Result<BulkTally, R::Error> {
    let (intent, mut tally) = (act.intent, BulkTally::default());
    let counted = match &act.does {
        Does::Change {
            action: BulkAction::Replay,
            ..
        } if reads.gone(intent)?.is_some() => &mut tally.payload_gone,
        Does::Create { .. } if !has_payload(reads, intent)? => &mut tally.payload_gone,
        Does::Create { to, .. } | Does::Move { to, .. } if has_delivery(reads, intent, to)? => {
            &mut tally.skipped
        }
        Does::Erase { .. } if reads.gone(intent)? == Some(GoneReason::Erased) => &mut tally.skipped,
        Does::Erase { waits: true } if reads.is_in_flight(intent)? => &mut tally.in_flight,
        _ => &mut tally.done,
    };
    *counted = 1;
    Ok(tally)
}

/// Whether an intent can be sent: neither its payload nor all of its deliveries are gone.
fn has_payload<R: BulkReads>(reads: &mut R, intent: IntentRow) -> Result<bool, R::Error> {
    Ok(reads.is_kept(intent)? && reads.gone(intent)?.is_none())
}

fn has_delivery<R: BulkReads>(
    reads: &mut R,
    intent: IntentRow,
    name: &str,
) -> Result<bool, R::Error> {
    match reads.destination_id(name)? {
        Some(destination) => reads.has_delivery(intent, destination),
        None => Ok(false),
    }
}
