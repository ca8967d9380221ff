//! The changes that a reload makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::effects::{Effect, SETTINGS};
use crate::config::resolved::{DestinationPolicy, Resolved};
use crate::config::settings::Config;

/// The differences between the configuration that runs and the one that takes its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub destinations: Names,
    pub sources: Names,
    /// Other settings.
    pub keys: Vec<&'static str>,
}

/// Names of sources or destinations, each in alphabetical order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Names {
    fn between<T>(old: &BTreeMap<String, Arc<T>>, new: &BTreeMap<String, Arc<T>>) -> Self {
        let mut names = Self::default();
        for (name, policy) in new {
            match old.get(name) {
                None => names.added.push(name.clone()),
                // Equal policies are one policy: see `Resolved::keeping`.
                Some(before) if !Arc::ptr_eq(before, policy) => names.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let removed = old.keys().filter(|name| !new.contains_key(*name));
        names.removed = removed.cloned().collect();
        names
    }
}

impl Changes {
    /// The changes from one checked configuration to another, each with its resolved form.
    pub fn between(old: (&Config, &Resolved), new: (&Config, &Resolved)) -> Self {
        let (old, before) = old;
        let (new, after) = new;
        let keys = SETTINGS
            .iter()
            .filter(|setting| (setting.differs)(old, new));
        Self {
            destinations: Names::between(&before.destinations, &after.destinations),
            sources: Names::between(&before.sources, &after.sources),
            keys: keys.map(|setting| setting.key).collect(),
        }
    }
}

/// The settings that differ and that only a start can change.
pub(crate) fn fixed_settings(old: &Config, new: &Config) -> Vec<&'static str> {
    SETTINGS
        .iter()
        .filter(|setting| setting.effect == Effect::Restart && (setting.differs)(old, new))
        .map(|setting| setting.key)
        .collect()
}

impl DestinationPolicy {
    /// Whether deliveries go to another server than under `old`: what was learned about the old
    /// one says nothing about this one.
    pub fn has_moved(&self, old: &Self) -> bool {
        match (&self.url, &old.url) {
            (Some(url), Some(old)) => url.origin() != old.origin(),
            _ => false,
        }
    }
}

impl Resolved {
    /// The same configuration with the very policies of `old` where they are equal: so a part sees
    /// by a pointer that nothing has changed.
    #[must_use]
    pub fn keeping(mut self, old: &Self) -> Self {
        keep(&mut self.destinations, &old.destinations);
        keep(&mut self.sources, &old.sources);
        if self.adhoc == old.adhoc {
            self.adhoc = Arc::clone(&old.adhoc);
        }
        self
    }
}

fn keep<T: PartialEq>(new: &mut BTreeMap<String, Arc<T>>, old: &BTreeMap<String, Arc<T>>) {
    for (name, policy) in new {
        if let Some(before) = old.get(name).filter(|before| *before == policy) {
            *policy = Arc::clone(before);
        }
    }
}

#[cfg(test)]
mod tests;
