//! Token buckets by name, for names that senders choose: a bounded number of names has a bucket
//! each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};

/// Names with a bucket of their own: about 1 MB of memory, and more sources than anybody has. All
/// other names share one bucket until some of these buckets are full again, and freed.
pub(super) const MAX_NAMES: usize = 10_000;

/// Clones share the buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct BoundedStates(Arc<States>);

#[derive(Debug, Default)]
struct States {
    own: Mutex<HashMap<String, InMemoryState>>,
    shared: InMemoryState,
}

impl BoundedStates {
    /// The names with a bucket of their own.
    pub fn names(&self) -> Vec<String> {
        self.own().keys().cloned().collect()
    }

    fn own(&self) -> MutexGuard<'_, HashMap<String, InMemoryState>> {
        self.0
            .own
            .lock()
            .expect("nobody panics while holding this lock")
    }
}

impl StateStore for BoundedStates {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, name: &String, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut own = self.own();
        if let Some(state) = own.get(name) {
            return state.measure_and_replace(&NotKeyed::NonKey, decide);
        }
        if own.len() >= MAX_NAMES {
            return self.0.shared.measure_and_replace(&NotKeyed::NonKey, decide);
        }
        own.entry(name.clone())
            .or_default()
            .measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

impl ShrinkableKeyedStateStore<String> for BoundedStates {
    fn retain_recent(&self, drop_below: Nanos) {
        self.own().retain(|_, state| {
            // An error leaves the state unchanged, so that this only reads it.
            let read = |nanos: Option<Nanos>| Err::<((), Nanos), _>(nanos);
            match state.measure_and_replace(&NotKeyed::NonKey, read) {
                Err(Some(nanos)) => nanos > drop_below,
                _ => false,
            }
        });
    }

    fn shrink_to_fit(&self) {
        self.own().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.own().len()
    }

    fn is_empty(&self) -> bool {
        self.own().is_empty()
    }
}
