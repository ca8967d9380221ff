//! `[backup]`: backups at intervals.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, shown};
use crate::config::units;

/// Backups at intervals.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Where they are written. It is made if only its last part is missing.
    pub directory: PathBuf,
    /// The time from one to the next. Default: 1 day.
    #[serde(default = "every_day", deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub every: Duration,
    /// How many of this database are kept; the oldest are deleted. Default: 7.
    #[serde(default = "a_week")]
    pub keep: u32,
}

fn every_day() -> Duration {
    Duration::from_secs(86_400)
}

fn a_week() -> u32 {
    7
}

/// The shortest and the longest interval. Names hold the second.
const EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
/// The most that are kept: each pass reads the manifests of all.
const KEEP: std::ops::RangeInclusive<u32> = 1..=1_000;

impl Backup {
    /// Backups once a day, of which a week's are kept.
    pub fn to(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            every: every_day(),
            keep: a_week(),
        }
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        let bytes = self.directory.as_os_str().as_encoded_bytes();
        if bytes.is_empty() || bytes.contains(&0) {
            return bad(
                &format!("{key}.directory"),
                quoted(self.directory.as_os_str()),
                "the path of a directory",
            );
        }
        if !EVERY.contains(&self.every) {
            return bad(&format!("{key}.every"), shown(self.every), "1s to 366d");
        }
        if !KEEP.contains(&self.keep) {
            return bad(&format!("{key}.keep"), self.keep, "1 to 1000");
        }
        Ok(())
    }
}
