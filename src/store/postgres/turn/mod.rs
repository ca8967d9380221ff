//! The dispatcher's changes: settles finished attempts, releases claims and claims due deliveries.
//! A claim is durable before an attempt begins, as one row for all deliveries of a turn.
//!
//! - `end`: the transaction that settles and releases. `settle`: records the results of attempts.
//!   `change`: what they change at their destinations. `release`: gives up claims. `look`: finds
//!   due deliveries. `claim`: claims them. `line`: lets the next delivery in an order go.
//!
//! A turn that changes nothing else settles and claims in one transaction: it waits for the
//! server's disk once.
//!
//! Each transaction is sent at once, and has the fence in each of its parts: a node whose row is
//! gone, since another took its deliveries over, changes nothing.

pub(in crate::store::postgres) mod change;
mod claim;
mod end;
pub(in crate::store::postgres) mod line;
mod look;
mod release;
pub(in crate::store::postgres) mod settle;

use self::claim::ClaimTurn;
use self::end::EndClaims;
use self::look::{Found, Looks, choose, look, read_up_to};
use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::limits::MAX_ROWS;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::in_flight::{Ending, Held};
use crate::store::turn_part::TurnPart;
use crate::store::types::{Claimed, SettleAndClaim};

/// The settlements and releases of a part, in a life of the node.
struct Ends<'a> {
    life: (i16, i64),
    now: Timestamp,
    ending: &'a Ending,
    end: &'a EndClaims<'a>,
}

impl Postgres {
    /// Settles finished attempts, releases claims and claims due deliveries, one step; false if
    /// none is left. After an error `change` knows which of it is durable. Blocks.
    pub fn settle_and_claim(&self, change: &mut SettleAndClaim) -> Result<bool, StoreError> {
        let Some(part) = change.next_part(MAX_ROWS) else {
            return Ok(false);
        };
        // Before the claims are read: those of a life that ends in between are void, and those that
        // are left are sent under the life that made them.
        let (life, now) = (self.life()?, self.shared().clock.now());
        let in_flight = &self.shared().in_flight;
        let ending = in_flight.ending(part.settlements(), part.releases());
        let end = EndClaims::of(&ending, part.without_breaker(), now)?;
        let ends = Ends {
            life,
            now,
            ending: &ending,
            end: &end,
        };
        // The common case, which then waits for the server's disk once and not twice. A delivery
        // that is due again at once has to be settled before a look finds it.
        let mut again = ending
            .settled
            .iter()
            .filter_map(|(one, _)| one.next_attempt_at());
        let is_joint =
            end.is_settling_alone() && !part.requests().is_empty() && again.all(|at| at > now);
        if !is_joint {
            if !ending.is_empty() || !part.without_breaker().is_empty() {
                self.end_claims(&ends)?;
            }
            change.settled();
        }
        let claimed = self.claim(&part, is_joint.then_some(&ends))?;
        change.committed(claimed);
        Ok(true)
    }

    /// The slot and the epoch of this node's life.
    pub(in crate::store::postgres) fn life(&self) -> Result<(i16, i64), StoreError> {
        let life = self.shared().node.life();
        Ok((life.slot, life.epoch))
    }

    /// The row of a life is gone: others may have what it had claimed, and whatever is in memory of
    /// it is void.
    fn fenced(&self, (_, epoch): (i16, i64)) -> StoreError {
        let shared = self.shared();
        shared.in_flight.void(epoch);
        shared.node.fenced(epoch);
        StoreError::Unreachable("another node has taken this one's deliveries over".into())
    }

    /// Settles and releases.
    fn end_claims(&self, ends: &Ends<'_>) -> Result<(), StoreError> {
        let ended = self.turn(|connection| ends.end.send(connection, ends.life, ends.now))?;
        if !ended.is_own {
            return Err(self.fenced(ends.life));
        }
        self.forget(ends);
        if !ended.advanced.is_empty() {
            (self.shared().on_work)(&ended.advanced);
        }
        Ok(())
    }

    /// Forgets claims whose end is durable.
    fn forget(&self, ends: &Ends<'_>) {
        let (shared, ending) = (self.shared(), ends.ending);
        shared.in_flight.ended(ending, ends.now);
        let dead = || {
            ending.settled.iter().filter(|(settlement, _)| {
                settlement.transition.apply(DeliveryState::Processing)
                    == Some(DeliveryState::DeadLettered)
            })
        };
        let all: Vec<_> = dead().map(|(one, _)| one.destination()).collect();
        shared.newly_dead.note(&all);
        let blocking = dead().filter(|(one, held)| held.line.is_some() && !one.leaves_its_line());
        let blocking = blocking.map(|(one, _)| one.destination());
        shared.counts.note_blocking(blocking);
    }

    /// Claims what the requests ask for, and settles in the same transaction.
    fn claim(&self, part: &TurnPart, ends: Option<&Ends<'_>>) -> Result<Vec<Claimed>, StoreError> {
        let requests = part.requests();
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let shared = self.shared();
        let in_flight = &shared.in_flight;
        // No bucket is given to another node under this claim.
        let claiming = shared.node.begin_claim();
        let own = &claiming.life;
        let (life, now) = ((own.slot, own.epoch), shared.clock.now());
        if let Some(ends) = ends.filter(|ends| ends.life != life) {
            return Err(self.fenced(ends.life));
        }
        let destinations: Vec<_> = requests.iter().map(|one| one.destination).collect();
        let starts = in_flight.starts(&destinations, now);
        let looks = Looks::of(requests, &starts);
        let found = self.turn(|connection| look(connection, &looks, now))?;
        let mut chosen = choose(requests, &starts, &found, part.claim());
        chosen.retain(|one| own.buckets.contains(&one.bucket));
        let mut held = Vec::new();
        if !chosen.is_empty() {
            held = self.record(&chosen, life, now, ends)?;
        }
        for (destination, read) in read_up_to(requests, &starts, &found, &held) {
            in_flight.read_up_to(destination, read, now);
        }
        // Last, so that no cursor is beyond a delivery that is due again, whenever that is.
        match ends {
            Some(ends) if chosen.is_empty() => self.end_claims(ends)?,
            Some(ends) => self.forget(ends),
            None => {}
        }
        Ok(held.into_iter().map(|held| held.claimed).collect())
    }

    /// Records a turn, and settles; what of the turn is claimed.
    fn record(
        &self,
        chosen: &[Found],
        life: (i16, i64),
        now: Timestamp,
        ends: Option<&Ends<'_>>,
    ) -> Result<Vec<Held>, StoreError> {
        let in_flight = &self.shared().in_flight;
        let (turn, over) = (in_flight.next_turn(), in_flight.doubtful());
        let claim = ClaimTurn {
            life,
            turn,
            now,
            over: &over,
            chosen,
        };
        let end = ends.map(|ends| ends.end);
        match self.turn(|connection| claim.send(connection, end)) {
            Ok(Some(claimed)) => {
                if !in_flight.claimed(life.1, turn, &claimed) {
                    return Err(self.fenced(life));
                }
                in_flight.no_longer_doubt(&over);
                Ok(claimed)
            }
            Ok(None) => Err(self.fenced(life)),
            Err(error) => {
                in_flight.doubt(turn);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
