//! A part of the pool, for some kinds of destinations.

use crate::delivery::admission::{Occupancy, Reputation};

/// The workers that destinations of some reputations may occupy together. The origins of ad hoc
/// URLs may take only some of them: an API key's owner makes up as many origins as they like, and
/// named destinations must not wait for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolShare {
    max: usize,
    max_adhoc: usize,
    of: &'static [Reputation],
}

impl PoolShare {
    /// A share of this many workers, all of them for any destination.
    pub fn new(workers: usize, of: &'static [Reputation]) -> Self {
        let max = workers.max(1);
        Self {
            max,
            max_adhoc: max,
            of,
        }
    }

    /// The same share, and half of it at most for ad hoc origins.
    pub fn half_for_adhoc(self) -> Self {
        Self {
            max_adhoc: (self.max / 2).max(1),
            ..self
        }
    }

    pub fn is_spent(&self, is_named: bool, occupancy: &Occupancy) -> bool {
        let [named, adhoc] = [true, false].map(|is_named| occupancy.count(is_named, self.of));
        if is_named {
            // Ad hoc origins may have one worker even of a share of one: the named destinations
            // have one as well.
            let reserved = (self.max - self.max_adhoc).max(1);
            named + adhoc >= self.max && named >= reserved
        } else {
            named + adhoc >= self.max || adhoc >= self.max_adhoc
        }
    }
}
