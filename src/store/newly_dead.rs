//! The destinations of new dead letters, for the alerts about them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::store::types::{DestinationId, NewlyDead};

/// Destinations that are remembered. Beyond it all of them are searched, which costs as much as
/// there are destinations with dead letters.
const MAX: usize = 4096;

/// Noted by the writer after a commit that gave something up, taken by the alerts.
#[derive(Debug, Default)]
pub struct NewlyDeadDestinations(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    destinations: HashSet<DestinationId>,
    has_more: bool,
}

impl NewlyDeadDestinations {
    /// Notes the destinations of a durable transaction.
    pub fn note(&self, destinations: &[DestinationId]) {
        if destinations.is_empty() {
            return;
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for destination in destinations {
            if noted.destinations.len() < MAX || noted.destinations.contains(destination) {
                noted.destinations.insert(*destination);
            } else {
                noted.has_more = true;
            }
        }
    }

    pub fn take(&self) -> NewlyDead {
        let noted = {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *noted)
        };
        let mut destinations: Vec<_> = noted.destinations.into_iter().collect();
        destinations.sort_unstable();
        NewlyDead {
            destinations,
            has_more: noted.has_more,
        }
    }
}
