//! The share of this node in the work on the database.

use crate::store::postgres::destinations::bucket_of;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::shared::Shared;

/// The bucket whose owner makes the work that is made once.
const LEADING: i16 = 0;

impl Shared {
    /// Whether this node owns the bucket of the work that is made once.
    pub fn leads(&self) -> bool {
        self.node.buckets().contains(&LEADING)
    }
}

impl Postgres {
    /// Whether other nodes may change the database while this one does.
    pub fn is_shared(&self) -> bool {
        true
    }

    /// Whether this node makes the work that is made once for the whole database: the owner of
    /// bucket 0 does.
    pub fn leads(&self) -> bool {
        self.shared().leads()
    }

    /// Whether this node delivers to a destination of this name: the owner of its bucket does.
    pub fn serves(&self, destination: &str) -> bool {
        self.shared()
            .node
            .buckets()
            .contains(&bucket_of(destination))
    }

    /// How often another node has taken over the deliveries to a destination from this one.
    pub fn handovers(&self, destination: &str) -> u32 {
        self.shared().node.losses_of(bucket_of(destination))
    }

    /// Gives each bucket to another node as soon as nothing of it is claimed.
    pub fn hand_over(&self) {
        self.shared().node.hand_over();
    }
}
