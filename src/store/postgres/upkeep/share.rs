//! The share of this node in the work on the database.

use crate::store::postgres::handle::Postgres;

impl Postgres {
    /// Whether other nodes may change the database while this one does.
    pub fn is_shared(&self) -> bool {
        true
    }

    /// Whether this node makes the work that is made once for the whole database: the owner of
    /// bucket 0 does.
    pub fn leads(&self) -> bool {
        true
    }

    /// Whether this node delivers to a destination of this name: the owner of its bucket does.
    pub fn serves(&self, destination: &str) -> bool {
        true
    }
}
