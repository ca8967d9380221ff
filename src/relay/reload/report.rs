//! The changes of a reload, in words.

use crate::config::{Changes, Resolved};
use crate::store::Affected;

/// Of a destination to which nothing goes until an operator resumes it.
const STAYS_PAUSED: &str = "stays paused";

/// The changes of a reload, in one line.
pub(super) struct Report {
    /// The names that it adds, changes and removes.
    pub text: String,
    /// The keys that the environment of the start overrides.
    pub overridden: Option<String>,
}

impl Report {
    /// `renewed` are destinations with other contents of a file, `affected` what the database knows
    /// of these, and of added, changed and removed destinations.
    pub fn new(
        changes: &Changes,
        renewed: &[String],
        policies: (&Resolved, &Resolved),
        affected: &[Affected],
        overridden: Option<String>,
    ) -> Self {
        let named = &changes.destinations;
        let others: Vec<&String> = named.changed.iter().chain(renewed).collect();
        let others = changed_destinations(others, policies, affected);
        let added = added_destinations(&named.added, affected);
        let keys: Vec<String> = changes.keys.iter().map(|key| (*key).to_owned()).collect();
        let sources = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| format!("source {name}")).collect()
        };
        let of_sources = &changes.sources;
        let parts = [
            ("adds", [added, sources(&of_sources.added)].concat()),
            (
                "changes",
                [others, sources(&of_sources.changed), keys].concat(),
            ),
            (
                "removes",
                [
                    removed_destinations(&named.removed, affected),
                    sources(&of_sources.removed),
                ]
                .concat(),
            ),
        ];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<_> = parts
            .map(|(verb, names)| format!("{verb} {}", names.join(", ")))
            .collect();
        let text = if parts.is_empty() {
            "changes nothing".to_owned()
        } else {
            parts.join("; ")
        };
        Self { text, overridden }
    }

    /// The whole as one text.
    pub fn with_overridden(&self) -> String {
        match &self.overridden {
            Some(keys) => format!("{}; the environment overrides {keys}", self.text),
            None => self.text.clone(),
        }
    }
}

/// The destinations that are new, or configured again.
fn added_destinations(names: &[String], affected: &[Affected]) -> Vec<String> {
    let described = names.iter().map(|name| {
        let note = if is_paused(name, affected) {
            STAYS_PAUSED
        } else {
            ""
        };
        destination(name, note)
    });
    described.collect()
}

/// The destinations whose settings, or files, have changed.
fn changed_destinations(
    mut names: Vec<&String>,
    (old, new): (&Resolved, &Resolved),
    affected: &[Affected],
) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    let described = names.into_iter().map(|name| {
        let mut notes = Vec::new();
        if new.destination(name).has_moved(old.destination(name)) {
            notes.push("another server");
        }
        if is_paused(name, affected) {
            notes.push(STAYS_PAUSED);
        }
        destination(name, &notes.join(", "))
    });
    described.collect()
}

fn removed_destinations(names: &[String], affected: &[Affected]) -> Vec<String> {
    let described = names.iter().map(|name| {
        let pending = of(name, affected).map_or(0, |one| one.pending);
        let more = if pending == Affected::MAX_COUNTED {
            " or more"
        } else {
            ""
        };
        destination(name, &format!("{pending}{more} pending"))
    });
    described.collect()
}

fn is_paused(name: &str, affected: &[Affected]) -> bool {
    of(name, affected).is_some_and(|one| one.is_paused)
}

fn of<'a>(name: &str, affected: &'a [Affected]) -> Option<&'a Affected> {
    affected.iter().find(|one| one.name == name)
}

fn destination(name: &str, note: &str) -> String {
    if note.is_empty() {
        format!("destination {name}")
    } else {
        format!("destination {name} ({note})")
    }
}
