//! The certificates of the listeners: read at the start, at each reload, and every hour.
//!
//! A pair is read and checked as a whole before it is used. If it is half written or broken, the
//! one before it goes on, and a line says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::acme::{AcmeAgent, AcmeParts, stored_certificate};
use crate::clock::Clock;
use crate::config::{Resolved, Tls};
use crate::http::{Identity, ListenerTls};
use crate::ops::metrics::Metrics;
use crate::ops::notices::{Notices, Renewer, Validity};
use crate::tls::{Authorities, PairFiles, client_config, read_pair};

/// The time between two looks at the files. Programs that renew certificates do so weeks before
/// they expire, or days for those that are valid for six.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// The settings of a listener's TLS.
struct Keys {
    /// The listener's label in metrics and logs.
    listener: &'static str,
    /// The name of its certificate in alerts.
    name: &'static str,
    certificate: &'static str,
    key: &'static str,
    renewer: Renewer,
    files: fn(&Resolved) -> Option<&Tls>,
}

const SERVER: Keys = Keys {
    listener: "server",
    name: "server.tls",
    certificate: "server.tls.cert_file",
    key: "server.tls.key_file",
    renewer: Renewer::Other,
    files: |config| config.server.tls.as_ref(),
};

/// Of the public listener by ACME: relay has written the file itself.
const ACME: Keys = Keys {
    listener: "server",
    name: "server.acme",
    certificate: "server.acme",
    key: "server.acme",
    renewer: Renewer::Relay,
    files: |_| None,
};

const ADMIN: Keys = Keys {
    listener: "admin",
    name: "admin.tls",
    certificate: "admin.tls.cert_file",
    key: "admin.tls.key_file",
    renewer: Renewer::Other,
    files: |config| config.admin.tls.as_ref(),
};

/// A key of the configuration, and the problem of its value.
type Problem = (String, String);

/// The certificates of both listeners, as far as they have TLS; clones share them.
#[derive(Clone)]
pub(super) struct Certificates(Arc<Inner>);

struct Inner {
    server: Option<ListenerTls>,
    admin: Option<ListenerTls>,
    has_acme: bool,
    metrics: Arc<Metrics>,
    notices: Notices,
    /// When the files are looked at next, by the monotonic clock.
    next_look: Mutex<Duration>,
}

/// Certificates that were read and checked, and are not in use yet.
pub(super) struct Prepared {
    server: Option<Identity>,
    /// Whether the public listener gets its certificate by ACME; there may be none yet.
    has_acme: bool,
    admin: Option<Identity>,
}

impl Prepared {
    /// Reads the certificates of a configuration. Blocks.
    pub fn read(config: &Resolved) -> Result<Self, Problem> {
        let acme = config.server.acme.as_ref();
        if let Some(path) = acme.and_then(|acme| acme.ca_file.as_deref()) {
            let of_key = |problem| ("server.acme.ca_file".to_owned(), problem);
            client_config(&Authorities::File(path)).map_err(of_key)?;
        }
        let server = match acme {
            Some(_) => stored_certificate(&config.database.path).and_then(Identity::new),
            None => read(&SERVER, config)?,
        };
        Ok(Self {
            server,
            has_acme: acme.is_some(),
            admin: read(&ADMIN, config)?,
        })
    }
}

/// Finds files that can't be used, without a start. An error is a key and its problem.
pub(crate) fn check(config: &Resolved) -> Result<(), (String, String)> {
    Prepared::read(config).map(|_| ())
}

/// The same of both listeners' files, each with the problem of its own.
pub(crate) fn problems(config: &Resolved) -> impl Iterator<Item = (String, String)> {
    [SERVER, ADMIN]
        .into_iter()
        .filter_map(|keys| read(&keys, config).err())
}

fn read(keys: &Keys, config: &Resolved) -> Result<Option<Identity>, Problem> {
    let Some(files) = (keys.files)(config) else {
        return Ok(None);
    };
    let pair = read_pair(&PairFiles {
        certificate: &files.cert_file,
        key: &files.key_file,
        certificate_setting: keys.certificate,
        key_setting: keys.key,
    });
    let pair = pair.map_err(|(key, problem)| (key.to_owned(), problem))?;
    let identity = Identity::new(pair).ok_or_else(|| {
        let path = files.cert_file.display();
        let problem = format!("\"{path}\": expected a certificate that can be read");
        (keys.certificate.to_owned(), problem)
    });
    identity.map(Some)
}

impl Certificates {
    /// Those of a start.
    pub fn new(prepared: Prepared, metrics: &Arc<Metrics>, notices: &Notices) -> Self {
        let tls = |keys: &Keys, identity: Option<Identity>| {
            if let Some(identity) = &identity {
                shown(keys, identity, metrics, notices);
            }
            ListenerTls::new(keys.listener, identity, metrics)
        };
        let server = match (prepared.server, prepared.has_acme) {
            (found, true) => Some(tls(&ACME, found)),
            (found, false) => found.map(|identity| tls(&SERVER, Some(identity))),
        };
        Self(Arc::new(Inner {
            server,
            admin: prepared.admin.map(|identity| tls(&ADMIN, Some(identity))),
            has_acme: prepared.has_acme,
            metrics: Arc::clone(metrics),
            notices: notices.clone(),
            next_look: Mutex::default(),
        }))
    }

    pub fn server(&self) -> Option<ListenerTls> {
        self.0.server.clone()
    }

    pub fn admin(&self) -> Option<ListenerTls> {
        self.0.admin.clone()
    }

    /// The agent that obtains the public listener's certificate by ACME, if it does.
    pub fn acme(
        &self,
        config: &Resolved,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<AcmeAgent>, String> {
        let Some((settings, listener)) = config.server.acme.clone().zip(self.server()) else {
            return Ok(None);
        };
        let (metrics, notices) = (Arc::clone(&self.0.metrics), self.0.notices.clone());
        let parts = AcmeParts {
            settings,
            listener,
            clock: Arc::clone(clock),
            shown: Box::new(move |identity| shown(&ACME, identity, &metrics, &notices)),
        };
        AcmeAgent::new(parts, &config.database.path).map(Some)
    }

    /// The names of certificates that differ from those in use.
    pub fn renewed(&self, prepared: &Prepared) -> Vec<&'static str> {
        let differs = |tls: &Option<ListenerTls>, next: &Option<Identity>| {
            let now = tls.as_ref().and_then(ListenerTls::identity);
            let both = now.zip(next.as_ref());
            both.is_some_and(|(now, next)| !now.is_same(next))
        };
        let both = [
            (
                "the certificate of server.tls",
                &self.0.server,
                &prepared.server,
            ),
            (
                "the certificate of admin.tls",
                &self.0.admin,
                &prepared.admin,
            ),
        ];
        let renewed = both.into_iter().filter(|(_, tls, next)| differs(tls, next));
        renewed.map(|(name, ..)| name).collect()
    }

    /// Uses other certificates from the next handshake on. The same ones change nothing.
    pub fn replace(&self, prepared: Prepared) {
        // The agent of ACME uses its certificate as soon as there is one.
        if !self.0.has_acme {
            self.replace_one(&SERVER, self.0.server.as_ref(), prepared.server);
        }
        self.replace_one(&ADMIN, self.0.admin.as_ref(), prepared.admin);
    }

    fn replace_one(&self, keys: &Keys, tls: Option<&ListenerTls>, next: Option<Identity>) {
        let Some((tls, next)) = tls.zip(next) else {
            return;
        };
        if tls.identity().is_some_and(|now| now.is_same(&next)) {
            return;
        }
        shown(keys, &next, &self.0.metrics, &self.0.notices);
        tls.replace(next);
    }

    /// Looks at the files, and uses what has changed. Blocks while it reads.
    pub fn look(&self, config: &Resolved) {
        for (keys, tls) in [(&SERVER, &self.0.server), (&ADMIN, &self.0.admin)] {
            match read(keys, config) {
                Ok(next) => self.replace_one(keys, tls.as_ref(), next),
                Err((key, problem)) => {
                    log::warn!(
                        key = key.as_str(), error = problem.as_str();
                        "a certificate can't be read again: the one before goes on"
                    );
                }
            }
        }
    }

    /// Whether a look is due, which makes the next one due an hour later. The first one is due an
    /// hour after the start.
    pub fn is_due(&self, now: Duration) -> bool {
        let has_files = self.0.server.is_some() || self.0.admin.is_some();
        let mut next = self
            .0
            .next_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = !next.is_zero() && now >= *next;
        if is_due || next.is_zero() {
            *next = now + LOOK_EVERY;
        }
        is_due && has_files
    }
}

/// Tells of a certificate: in the log, in the metrics, and for the alerts.
fn shown(keys: &Keys, identity: &Identity, metrics: &Metrics, notices: &Notices) {
    let facts = &identity.facts;
    log::info!(
        listener = keys.listener, issuer = facts.issuer.as_str(),
        self_signed = facts.is_self_signed,
        not_before:% = facts.not_before, not_after:% = facts.not_after;
        "a certificate is in use"
    );
    metrics.certificate_expires(keys.listener, facts.not_after);
    notices.certificate(keys.name, Validity::from(facts), keys.renewer);
}

#[cfg(test)]
mod tests;
