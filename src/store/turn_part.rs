//! Divides the dispatcher's change into parts of a bounded number of rows, each a transaction.

use std::ops::Range;
use std::sync::Arc;

use super::limits::MAX_HISTORY;
use super::row_budget::RowBudget;
use super::types::{
    ClaimId, ClaimRequest, Claimed, DestinationId, Release, SettleAndClaim, Settlement,
};

/// One transaction's share of a [`SettleAndClaim`].
pub struct TurnPart {
    settlements: Arc<Vec<Settlement>>,
    settled: Range<usize>,
    releases: Arc<Vec<Release>>,
    released: Range<usize>,
    without_breaker: Vec<DestinationId>,
    requests: Vec<ClaimRequest>,
    claim: ClaimId,
}

impl SettleAndClaim {
    /// The next part, of at most `rows` rows unless it can't be divided; none once all are done.
    /// The same part again until it is [`Self::committed`].
    pub(super) fn next_part(&mut self, rows: usize) -> Option<TurnPart> {
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
        let part = TurnPart {
            settlements: Arc::clone(&self.settlements),
            settled: done.settled..next.settled,
            releases: Arc::clone(&self.releases),
            released: done.released..next.released,
            without_breaker: self.without_breaker[done.closed..next.closed].to_vec(),
            requests,
            claim: self.claim,
        };
        self.next = next;
        Some(part)
    }

    /// Whether no more than `rows` rows are left.
    pub(super) fn has_at_most(&self, rows: usize) -> bool {
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

    /// The part is durable.
    pub(super) fn committed(&mut self, claimed: Vec<Claimed>) {
        self.done = self.next.clone();
        self.claimed.extend(claimed);
    }

    /// The part is durable but for its claims. For an engine that makes two transactions of it.
    #[allow(dead_code, reason = "SQLite makes one")]
    pub(super) fn settled(&mut self) {
        let requests = std::mem::take(&mut self.done.requests);
        self.done = self.next.clone();
        self.done.requests = requests;
    }

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

impl TurnPart {
    pub fn settlements(&self) -> &[Settlement] {
        &self.settlements[self.settled.clone()]
    }

    pub fn releases(&self) -> &[Release] {
        &self.releases[self.released.clone()]
    }

    /// Destinations whose circuit breaker was left open, and which have none any more.
    pub fn without_breaker(&self) -> &[DestinationId] {
        &self.without_breaker
    }

    pub fn requests(&self) -> &[ClaimRequest] {
        &self.requests
    }

    /// Marks the deliveries that this claims.
    pub fn claim(&self) -> ClaimId {
        self.claim
    }

    /// Rows that it writes at most.
    pub fn rows(&self) -> usize {
        let settled: usize = self.settlements().iter().map(rows_of).sum();
        let claimed = self.requests.iter().map(rows_of_request);
        settled + self.released.len() + self.without_breaker.len() + claimed.sum::<usize>()
    }
}

/// Rows that a settlement writes: the delivery and the attempt, the oldest attempt if it is
/// deleted, the destination for each of its changes, and with an order the line.
fn rows_of(settlement: &Settlement) -> usize {
    let change = &settlement.change;
    2 + usize::from(i64::from(settlement.record.history) >= MAX_HISTORY)
        + usize::from(change.hold_until.is_some())
        + usize::from(change.pause.is_some())
        + usize::from(change.breaker.is_some())
        + usize::from(change.is_proven.is_some())
        + if settlement.on_dead.is_some() { 2 } else { 0 }
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

#[cfg(test)]
mod tests;
