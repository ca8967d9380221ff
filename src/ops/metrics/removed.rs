//! The series of destinations and sources that a reload has removed. A recorder never drops a
//! series, so that these are left out where the metrics are rendered.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Gauges of a destination, which tell something of a removed one unless they are zero: deliveries
/// may wait for it.
const GAUGES: [&str; 2] = ["relay_destination_state", "relay_ordering_blocked"];

/// The names of the configuration that runs, and those that reloads have removed from it. Bounded
/// by the names that the configurations of this process had.
#[derive(Debug, Default)]
pub(super) struct ConfiguredNames {
    destinations: Mutex<Names>,
    sources: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    present: HashSet<String>,
    removed: HashSet<String>,
}

impl ConfiguredNames {
    /// Sets the names that there are now.
    pub fn declare(&self, sources: &[&str], destinations: &[&str]) {
        for (names, present) in [(&self.sources, sources), (&self.destinations, destinations)] {
            names
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .declare(present);
        }
    }

    /// The rendered metrics without the series of removed names.
    pub fn without_removed(&self, text: String) -> String {
        let destinations = self.destinations.lock();
        let destinations = destinations.unwrap_or_else(PoisonError::into_inner);
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if destinations.removed.is_empty() && sources.removed.is_empty() {
            return text;
        }
        let is_left_out = |line: &str| {
            destinations.have_removed(line, "destination") || sources.have_removed(line, "source")
        };
        let lines = text.split_inclusive('\n');
        lines.filter(|line| !is_left_out(line.trim_end())).collect()
    }
}

impl Names {
    fn declare(&mut self, present: &[&str]) {
        let present: HashSet<String> = present.iter().map(|&name| name.to_owned()).collect();
        self.removed.extend(self.present.drain());
        self.removed.retain(|name| !present.contains(name));
        self.present = present;
    }

    /// Whether a line is a series of a removed name. Its first label has the name, in which
    /// nothing is escaped.
    fn have_removed(&self, line: &str, label: &str) -> bool {
        let Some((series, labels)) = line.split_once('{') else {
            return false;
        };
        let value = labels.strip_prefix(label);
        let value = value.and_then(|rest| rest.strip_prefix("=\""));
        let name = value.and_then(|rest| rest.split('"').next());
        let says_something = GAUGES.contains(&series) && !line.ends_with(" 0");
        name.is_some_and(|name| self.removed.contains(name)) && !says_something
    }
}
