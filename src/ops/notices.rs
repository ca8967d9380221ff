//! Facts of the running relay that the operator is told of, and that no other part can find in the
//! database: each part reports its own, and the alerts look at them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::tls::Facts;

/// A certificate with more time left is not expiring, however long its lifetime is.
const EXPIRING: Duration = Duration::from_secs(14 * 86_400);

/// The facts that parts report; clones share them. Each is a state, so that reporting it again
/// changes nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<Noticed>>);

/// Bounded by the failures that there are, and the certificates of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Failures, each with the class of its error.
    pub failures: BTreeMap<Failure, String>,
    /// Certificates by name, each with the program that renews it.
    pub certificates: BTreeMap<String, (Validity, Renewer)>,
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

/// The program that renews a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewer {
    /// Relay itself, by ACME: it begins with a third of the lifetime left.
    Relay,
    /// Another one, which replaces the files.
    Other,
}

impl Validity {
    pub fn lifetime(self) -> Duration {
        self.not_after.since(self.not_before)
    }

    /// Whether a certificate should have been renewed by now. Relay's own renewal has a twelfth of
    /// the lifetime to succeed in: a renewal under way is no reason to call somebody.
    pub fn is_expiring(self, renewer: Renewer, now: Timestamp) -> bool {
        let share = match renewer {
            Renewer::Relay => 4,
            Renewer::Other => 3,
        };
        self.not_after.since(now) < EXPIRING.min(self.lifetime() / share)
    }
}

impl From<&Facts> for Validity {
    fn from(facts: &Facts) -> Self {
        Self {
            not_before: facts.not_before,
            not_after: facts.not_after,
        }
    }
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
    pub fn certificate(&self, name: &str, validity: Validity, renewer: Renewer) {
        let certificate = (validity, renewer);
        self.lock()
            .certificates
            .insert(name.to_owned(), certificate);
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
