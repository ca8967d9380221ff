//! The dispatcher's transaction: settles finished attempts, releases claims, claims due deliveries.
//!
//! - `settle`: records the results of attempts, and releases claims. `claim`: claims due
//!   deliveries.

mod claim;
mod settle;

use self::claim::claim;
use self::settle::{release, settle, store_breaker};
use crate::model::BreakerChange;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::turn_part::TurnPart;
use crate::store::types::{Claimed, SettleAndClaim};

impl Sqlite {
    /// Makes the next step of a change; false if none is left. After an error `change` knows which
    /// of it is durable. Blocks.
    pub fn settle_and_claim(&self, change: &mut SettleAndClaim) -> Result<bool, StoreError> {
        self.write_step(change)
    }
}

impl LongWrite for SettleAndClaim {
    type Step = TurnPart;

    fn next_step(&mut self, rows: usize) -> Option<TurnPart> {
        self.next_part(rows)
    }

    fn has_at_most(&self, rows: usize) -> bool {
        Self::has_at_most(self, rows)
    }

    fn committed(&mut self, claimed: Vec<Claimed>) {
        Self::committed(self, claimed);
    }
}

impl WriteOp for TurnPart {
    type Out = Vec<Claimed>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Claimed>, StoreError> {
        for settlement in self.settlements() {
            settle(settlement, tx)?;
        }
        for one in self.releases() {
            release(one, tx)?;
        }
        for destination in self.without_breaker() {
            store_breaker(*destination, BreakerChange::Closed, tx)?;
        }
        let mut claimed = Vec::new();
        for request in self.requests() {
            claim(request, self.claim(), &mut claimed, tx)?;
        }
        Ok(claimed)
    }

    fn rows(&self) -> usize {
        Self::rows(self)
    }

    fn bytes(&self) -> usize {
        self.settlements()
            .iter()
            .map(|settlement| settlement.record.response.as_ref().map_or(64, Vec::len))
            .sum()
    }
}

#[cfg(test)]
mod tests;
