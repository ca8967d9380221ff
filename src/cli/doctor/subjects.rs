//! The destinations and sources to look at.

use crate::cli::doctor::report::Report;
use crate::config::Resolved;
use crate::model::TargetUrl;
use crate::ops::examination::Examined;

#[derive(Debug, Default)]
pub(super) struct Subjects {
    pub destinations: Vec<Examined>,
    pub sources: Vec<String>,
}

impl Subjects {
    /// Those of these names; without names, all of the configuration. A name may be both.
    pub fn of(report: &mut Report, config: &Resolved, names: &[String]) -> Self {
        if names.is_empty() {
            return Self {
                destinations: config
                    .destinations
                    .keys()
                    .cloned()
                    .map(Examined::Named)
                    .collect(),
                sources: config.sources.keys().cloned().collect(),
            };
        }
        let mut subjects = Self::default();
        for name in names {
            subjects.add(report, config, name);
        }
        subjects
    }

    fn add(&mut self, report: &mut Report, config: &Resolved, name: &str) {
        if name.contains("://") {
            match name.parse::<TargetUrl>() {
                Ok(url) => self.destinations.push(Examined::AdHoc(url)),
                // The text may hold a password.
                Err(error) => report.fail("the URL", error.to_string(), ""),
            }
            return;
        }
        let is_destination = config.destinations.contains_key(name);
        let is_source = config.sources.contains_key(name);
        if is_destination {
            self.destinations.push(Examined::Named(name.to_owned()));
        }
        if is_source {
            self.sources.push(name.to_owned());
        }
        if !is_destination && !is_source {
            let fact = "the configuration has no destination and no source of this name";
            report.fail(
                name,
                fact,
                "relay check lists them; a URL is looked at, too",
            );
        }
    }
}
