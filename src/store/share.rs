//! The share of this process in the work on a store that other processes may share.

use super::{Engine, Store};

impl Store {
    /// Whether other processes may change the store while this one has it open.
    pub fn is_shared(&self) -> bool {
        on_engine!(&self.engine, |engine| engine.is_shared())
    }

    /// Whether this process makes the work that is made once for the whole store, such as
    /// retention, and tells of the store as a whole.
    pub fn leads(&self) -> bool {
        on_engine!(&self.engine, |engine| engine.leads())
    }

    /// Whether this process delivers to a destination of this name, and so tells of it.
    pub fn serves(&self, destination: &str) -> bool {
        on_engine!(&self.engine, |engine| engine.serves(destination))
    }

    /// How often another process has taken over the deliveries to a destination of this name from
    /// this one. Another number than before: what this process remembers of it may be outdated.
    pub fn handovers(&self, destination: &str) -> u32 {
        on_engine!(&self.engine, |engine| engine.handovers(destination))
    }

    /// Lets other processes deliver: nothing more is claimed here, and what is claimed is settled
    /// or released. Returns at once.
    pub fn hand_over(&self) {
        on_engine!(&self.engine, |engine| engine.hand_over());
    }
}
