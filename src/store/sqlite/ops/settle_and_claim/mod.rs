//! The dispatcher's transaction: settles finished attempts, releases claims, claims due deliveries.
//! Divided into steps of a bounded number of rows.
//!
//! - `settle`: records the results of attempts, and releases claims. `claim`: claims due
//!   deliveries.

mod claim;
mod settle;

use std::ops::Range;
use std::sync::Arc;

use self::claim::claim;
use self::settle::{release, rows_of, settle, store_breaker};
use crate::model::BreakerChange;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, RowBudget, WriteOp};
use crate::store::types::{
    ClaimId, ClaimRequest, Claimed, DestinationId, Release, SettleAndClaim, Settlement,
};

impl Sqlite {
    /// Makes the next step of a change; false if none is left. After an error `change` knows which
    /// of it is durable. Blocks.
    pub fn settle_and_claim(&self, change: &mut SettleAndClaim) -> Result<bool, StoreError> {
        self.write_step(change)
    }
}

impl LongWrite for SettleAndClaim {
    type Step = SettleAndClaimStep;

    fn next_step(&mut self, rows: usize) -> Option<SettleAndClaimStep> {
        let done = &self.done;
        let settlements = &self.settlements[done.settled..];
        let releases = &self.releases[done.released..];
        let without_breaker = &self.without_breaker[done.closed..];
        if settlements.is_empty()
            && releases.is_empty()
            && without_breaker.is_empty()
            && done.requests.is_empty()
        {
            return None;
        }
        let for_claims = self.rows_for_claims(rows);
        let mut budget = RowBudget::of(rows - for_claims);
        let mut next = done.clone();
        next.settled += budget.spend_on(settlements, rows_of);
        next.released += budget.spend_on(releases, |_| 1);
        next.closed += budget.spend_on(without_breaker, |_| 1);
        budget.grow(for_claims);
        let mut requests = Vec::new();
        next.requests.clear();
        for request in &done.requests {
            let before = self.before_claims.get(&request.destination);
            if before.is_some_and(|before| next.settled < *before) {
                next.requests.push(*request);
                continue;
            }
            let (now, later) = divide(*request, &mut budget);
            requests.extend(now);
            next.requests.extend(later);
        }
        let step = SettleAndClaimStep {
            settlements: Arc::clone(&self.settlements),
            settled: done.settled..next.settled,
            releases: Arc::clone(&self.releases),
            released: done.released..next.released,
            without_breaker: self.without_breaker[done.closed..next.closed].to_vec(),
            requests,
            claim: self.claim,
        };
        self.next = next;
        Some(step)
    }

    fn has_at_most(&self, rows: usize) -> bool {
        let done = &self.done;
        // These are one row each, and counted without a walk.
        let plain =
            self.releases[done.released..].len() + self.without_breaker[done.closed..].len();
        let settled = self.settlements[done.settled..].iter().map(rows_of);
        let mut others = settled.chain(done.requests.iter().map(rows_of_request));
        let left = rows.checked_sub(plain);
        // Stops at the bound: a turn of a thousand workers is asked at each of its steps.
        left.and_then(|left| others.try_fold(left, usize::checked_sub))
            .is_some()
    }

    fn committed(&mut self, claimed: Vec<Claimed>) {
        self.done = self.next.clone();
        self.claimed.extend(claimed);
    }
}

impl SettleAndClaim {
    /// The part of a step's rows that claims have: as large as their part of what is left.
    fn rows_for_claims(&self, rows: usize) -> usize {
        let done = &self.done;
        // Nearly each settlement has two rows, and this is asked at each step.
        let others = 2 * self.settlements[done.settled..].len()
            + self.releases[done.released..].len()
            + self.without_breaker[done.closed..].len();
        let claims: usize = done.requests.iter().map(rows_of_request).sum();
        let all = others + claims;
        (rows.min(all) * claims).checked_div(all).unwrap_or(0)
    }
}

/// Rows of a request: the destination, and the deliveries.
fn rows_of_request(request: &ClaimRequest) -> usize {
    1 + request.begin + request.prefetch
}

/// Divides a request into the claims that still fit into the transaction, and the others.
fn divide(
    request: ClaimRequest,
    budget: &mut RowBudget,
) -> (Option<ClaimRequest>, Option<ClaimRequest>) {
    // One row for the destination.
    let fits = budget.spend(1);
    let asked = 0..request.begin + request.prefetch;
    let rows = asked.take_while(|_| fits && budget.spend(1)).count();
    let now = ClaimRequest {
        destination: request.destination,
        begin: request.begin.min(rows),
        prefetch: rows - request.begin.min(rows),
    };
    let later = ClaimRequest {
        destination: request.destination,
        begin: request.begin - now.begin,
        prefetch: request.prefetch - now.prefetch,
    };
    (
        (rows > 0).then_some(now),
        (later.begin + later.prefetch > 0).then_some(later),
    )
}

/// One transaction's share of a [`SettleAndClaim`].
pub struct SettleAndClaimStep {
    settlements: Arc<Vec<Settlement>>,
    settled: Range<usize>,
    releases: Arc<Vec<Release>>,
    released: Range<usize>,
    without_breaker: Vec<DestinationId>,
    requests: Vec<ClaimRequest>,
    claim: ClaimId,
}

impl WriteOp for SettleAndClaimStep {
    type Out = Vec<Claimed>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Claimed>, StoreError> {
        for settlement in self.settlements() {
            settle(settlement, tx)?;
        }
        for one in &self.releases[self.released.clone()] {
            release(one, tx)?;
        }
        for destination in &self.without_breaker {
            store_breaker(*destination, BreakerChange::Closed, tx)?;
        }
        let mut claimed = Vec::new();
        for request in &self.requests {
            claim(request, self.claim, &mut claimed, tx)?;
        }
        Ok(claimed)
    }

    fn rows(&self) -> usize {
        let settled: usize = self.settlements().iter().map(rows_of).sum();
        let claimed = self.requests.iter().map(rows_of_request);
        settled + self.released.len() + self.without_breaker.len() + claimed.sum::<usize>()
    }

    fn bytes(&self) -> usize {
        self.settlements()
            .iter()
            .map(|settlement| settlement.record.response.as_ref().map_or(64, Vec::len))
            .sum()
    }
}

impl SettleAndClaimStep {
    fn settlements(&self) -> &[Settlement] {
        &self.settlements[self.settled.clone()]
    }
}

#[cfg(test)]
mod tests;
