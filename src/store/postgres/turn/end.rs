//! The transaction that settles attempts and releases claims.

use std::collections::BTreeSet;

use super::{change, line, release, settle};
use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::MAX_HISTORY;
use crate::store::postgres::connection::{Call, Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::in_flight::Ending;
use crate::store::types::DestinationId;

/// Waits for whoever takes this node's deliveries over, and keeps others from it until the end of
/// the transaction. $1: slot; $2: epoch.
const FENCE: &str = "SELECT count(*) FROM (SELECT 1 FROM relay.nodes
     WHERE slot = $1::int2 AND epoch = $2::int8 FOR KEY SHARE) AS own";

/// The parameters of the transaction, which may be sent more than once.
pub struct EndClaims<'a> {
    settle: settle::Columns<'a>,
    release: release::Columns,
    change: change::Columns<'a>,
    /// Turns that are over.
    over: Vec<i64>,
    /// The lines that deliveries leave: destinations, and ordering keys.
    lines: (Vec<i32>, Vec<i64>),
    /// Ad hoc origins to which deliveries end.
    origins: Vec<i32>,
    /// Destinations that have no circuit breaker any more.
    without_breaker: Vec<i32>,
    /// Histories that are too long: intents, destinations, and the last entry that goes.
    long: (Vec<i64>, Vec<i32>, Vec<i32>),
    /// Destinations that are locked before, each once and in order.
    locked: Vec<i32>,
    has_settlements: bool,
    has_releases: bool,
}

/// How the transaction ended.
pub struct Ended {
    /// Whether the node's row was there: otherwise nothing was changed.
    pub is_own: bool,
    /// Destinations of which a delivery in a line became due.
    pub advanced: Vec<DestinationId>,
}

impl<'a> EndClaims<'a> {
    pub fn of(
        ending: &'a Ending,
        without_breaker: &[DestinationId],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let number = |id: &DestinationId| settle::number_of(id.0);
        let mut all = Self {
            settle: settle::Columns::of(&ending.settled)?,
            release: release::Columns::of(&ending.released, now),
            change: change::Columns::of(&ending.settled),
            over: ending.over.clone(),
            lines: (Vec::new(), Vec::new()),
            origins: Vec::new(),
            without_breaker: without_breaker.iter().map(number).collect(),
            long: (Vec::new(), Vec::new(), Vec::new()),
            locked: Vec::new(),
            has_settlements: !ending.settled.is_empty(),
            has_releases: !ending.released.is_empty(),
        };
        let mut locked: BTreeSet<i32> = all.change.destinations.iter().copied().collect();
        for (settlement, held) in &ending.settled {
            let (intent, destination) =
                (settlement.claim.intent.0, number(&held.claimed.destination));
            if let Some(key) = held.line
                && settlement.leaves_its_line()
            {
                all.lines.0.push(destination);
                all.lines.1.push(key);
                locked.insert(destination);
            }
            if held.is_adhoc && settlement.next_attempt_at().is_none() {
                all.origins.push(destination);
                locked.insert(destination);
            }
            let first_kept = i64::from(held.claimed.history) + 1 - MAX_HISTORY;
            if first_kept > 0 {
                all.long.0.push(intent);
                all.long.1.push(destination);
                all.long.2.push(settle::number_of(first_kept));
            }
        }
        all.locked = locked.into_iter().collect();
        Ok(all)
    }

    /// Sends it.
    pub fn send(
        &self,
        connection: &mut Connection,
        (slot, epoch): (i16, i64),
        now: Timestamp,
    ) -> Result<Ended, Failure> {
        let (now, none) = (now.as_millis(), Vec::<i64>::new());
        // The rows of turns are changed by a release first.
        let over = if self.has_releases { &none } else { &self.over };
        let fence: [Param<'_>; 2] = [&slot, &epoch];
        let mut settle: Vec<Param<'_>> = vec![&slot, &epoch, &now, over];
        settle.extend(self.settle.params());
        if self.is_settling_alone() {
            let row = connection.one(settle::SETTLE, &settle)?;
            return Ok(Ended {
                is_own: row.try_get::<_, i64>(0)? > 0,
                advanced: Vec::new(),
            });
        }
        let mut change: Vec<Param<'_>> = vec![&slot, &epoch, &now];
        change.extend(self.change.params());
        let mut release: Vec<Param<'_>> = vec![&slot, &epoch, &now];
        release.extend(self.release.params());
        let locked: [Param<'_>; 1] = [&self.locked];
        let over: [Param<'_>; 3] = [&slot, &epoch, &self.over];
        let lines: [Param<'_>; 3] = [&self.lines.0, &self.lines.1, &now];
        let origins: [Param<'_>; 1] = [&self.origins];
        let closed: [Param<'_>; 3] = [&slot, &epoch, &self.without_breaker];
        let long: [Param<'_>; 5] = [&slot, &epoch, &self.long.0, &self.long.1, &self.long.2];
        let all: [(bool, Call<'_>); 10] = [
            (true, (FENCE, &fence)),
            (!self.locked.is_empty(), (line::LOCK, &locked)),
            (
                !self.change.destinations.is_empty(),
                (change::CHANGE, &change),
            ),
            (self.has_settlements, (settle::SETTLE, &settle)),
            (self.has_releases, (release::RELEASE, &release)),
            (
                self.has_releases || !self.has_settlements,
                (release::END_TURNS, &over),
            ),
            (!self.origins.is_empty(), (change::IN_USE, &origins)),
            (
                !self.without_breaker.is_empty(),
                (change::CLOSE_BREAKERS, &closed),
            ),
            (!self.long.0.is_empty(), (settle::SHORTEN, &long)),
            // The last one: its rows are asked for.
            (!self.lines.0.is_empty(), (line::ADVANCE, &lines)),
        ];
        let needed: Vec<Call<'_>> = all
            .into_iter()
            .filter_map(|(is_needed, call)| is_needed.then_some(call))
            .collect();
        let mut answers = connection.transaction(&needed)?;
        let own = answers.first().and_then(|rows| rows.first());
        let own = own.ok_or_else(|| Failure::unexpected("the fence had no row".to_owned()))?;
        let is_own = own.try_get::<_, i64>(0)? > 0;
        let mut advanced = Vec::new();
        if !self.lines.0.is_empty() {
            for row in answers.pop().unwrap_or_default() {
                advanced.push(DestinationId(i64::from(row.try_get::<_, i32>(0)?)));
            }
        }
        Ok(Ended { is_own, advanced })
    }

    /// Adds the parameters of the statement that settles. $1: slot; $2: epoch; $3: now.
    pub fn settle_with<'p>(&'p self, params: &mut Vec<Param<'p>>) {
        params.push(&self.over);
        params.extend(self.settle.params());
    }

    /// Adds the destinations of what is settled.
    pub fn add_destinations(&self, destinations: &mut Vec<i32>) {
        destinations.extend(self.settle.destinations());
    }

    /// Whether one statement does it all.
    pub fn is_settling_alone(&self) -> bool {
        self.has_settlements
            && !self.has_releases
            && self.locked.is_empty()
            && self.without_breaker.is_empty()
            && self.long.0.is_empty()
    }
}
