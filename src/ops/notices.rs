//! Facts of the running relay that the operator is told of, and that no other part can find in the
//! database: each part reports its own, and the alerts look at them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// The facts that parts report; clones share them. Each is a state, so that reporting it again
/// changes nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<Noticed>>);

/// Bounded by the failures that there are, and the certificates of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Failures, each with the class of its error.
    pub failures: BTreeMap<Failure, String>,
    /// Certificates by name.
    pub certificates: BTreeMap<String, Validity>,
}

/// An action that may fail, and that the operator repeats or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The last reload of the configuration was refused.
    ConfigReload,
    /// The last backup failed.
    Backup,
}

/// The time for which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

#[allow(
    dead_code,
    reason = "backups and certificates of relay's own are reported once there are any"
)]
impl Notices {
    /// An action has failed. `class` says why without quoting anything from outside.
    pub fn failed(&self, failure: Failure, class: &str) {
        let class = class.to_owned();
        self.lock().failures.insert(failure, class);
    }

    /// An action has succeeded.
    pub fn succeeded(&self, failure: Failure) {
        self.lock().failures.remove(&failure);
    }

    /// A certificate is in use.
    pub fn certificate(&self, name: &str, validity: Validity) {
        self.lock().certificates.insert(name.to_owned(), validity);
    }

    /// All that is known now.
    pub fn noticed(&self) -> Noticed {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Noticed> {
        // Each change is whole: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
