//! The process that serves the file: there is one at most, and no table of it.

use std::future::Ready;

use crate::config;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::types::{NodeState, OwnLease};

impl Sqlite {
    /// This process alone.
    pub fn nodes(&self, own: &config::Node) -> Ready<Result<Vec<NodeState>, StoreError>> {
        let only = NodeState::only(own.own_name(), true, self.shared().clock.now());
        std::future::ready(Ok(vec![only]))
    }

    /// None: the file is its process's as long as that lives.
    #[expect(clippy::unused_self, reason = "an engine of several has one")]
    pub fn own_lease(&self) -> Option<OwnLease> {
        None
    }
}

impl Operator {
    /// The process that has the file open, if one has.
    #[expect(clippy::unnecessary_wraps, reason = "other engines read")]
    pub fn nodes(&self, own: &config::Node) -> Result<Vec<NodeState>, StoreError> {
        let only = || NodeState::only(own.own_name(), false, self.now());
        Ok(self.has_server().then(only).into_iter().collect())
    }
}
