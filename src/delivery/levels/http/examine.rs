//! Examines a destination without sending it an event: HEAD of its origin, on the way that its
//! events take, by the same resolver, dialer and checks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use ureq::Agent;
use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use crate::clock::{Clock, Timestamp};
use crate::config::Resolved;
use crate::delivery::levels::http::agents::AgentMaker;
use crate::delivery::levels::http::answer;
use crate::delivery::levels::http::names::Names;
use crate::delivery::levels::http::tls;
use crate::delivery::levels::http::trace;
use crate::delivery::levels::http::wire::{Dialer, Wire};
use crate::model::FailureKind;
use crate::ops::examination::{Examination, Examined, ExaminedAnswer};
use crate::ops::notices::Validity;

/// Examines a destination. Blocks for `timeout` at most.
pub(in crate::delivery::levels) fn examine(
    config: &Arc<Resolved>,
    subject: &Examined,
    timeout: Duration,
    clock: &Arc<dyn Clock>,
) -> Examination {
    let (policy, url) = match subject {
        Examined::Named(name) => {
            let policy = config.destination(name);
            (policy, policy.url.clone())
        }
        Examined::AdHoc(url) => (config.adhoc(), Some(url.clone())),
    };
    let Some(url) = url else {
        return failed(FailureKind::Internal, "it has no section of its own");
    };
    let listeners = [Some(config.server.listen), config.admin.listen];
    let listeners: Vec<_> = listeners.into_iter().flatten().collect();
    let maker = AgentMaker::of(Arc::clone(config), clock, &listeners);
    let way = match subject {
        Examined::Named(name) => AgentMaker::way_of(name, policy),
        Examined::AdHoc(_) => maker.way_of_clients(),
    };
    let way = match way {
        Ok(way) => way,
        Err(error) => return failed(FailureKind::Tls, &error.to_string()),
    };
    let (seen, date) = (Arc::new(Mutex::new(None)), Arc::new(OnceLock::new()));
    let (settings, dialer, resolver) = maker.parts(&way, &Names::new(1, Arc::clone(clock)));
    let watched = Watched {
        dialer,
        seen: Arc::clone(&seen),
        date: Arc::clone(&date),
    };
    let agent = Agent::with_parts(settings, watched, resolver);
    trace::begin();
    let request = agent.head(format!("{}/", url.origin())).config();
    let result = request.timeout_global(Some(timeout)).build().call();
    let (at, trace) = (clock.wall(), trace::take());
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut found = Examination {
        addresses: trace.address,
        connected: trace.connect.filter(|_| seen.is_some()),
        certificate: seen.and_then(|seen| seen.certificate),
        ..Examination::default()
    };
    match result {
        Ok(answer) => {
            found.answer = Some(ExaminedAnswer {
                status: answer.status().as_u16(),
                date: date.get().and_then(|text| time_of(text)),
                at,
            });
        }
        Err(error) => {
            let outcome = answer::failure(&error, policy);
            let kind = outcome.failure.unwrap_or(FailureKind::Internal);
            found.failure = Some((kind, outcome.error.unwrap_or_default()));
        }
    }
    found
}

fn failed(kind: FailureKind, problem: &str) -> Examination {
    Examination {
        failure: Some((kind, problem.to_owned())),
        ..Examination::default()
    }
}

/// The time of a `Date`.
fn time_of(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok()?;
    let millis = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
    Some(Timestamp::from_millis(i64::try_from(millis).ok()?))
}

/// A dialer whose connections are looked at.
#[derive(Debug)]
struct Watched {
    dialer: Dialer,
    /// None until there is a connection.
    seen: Arc<Mutex<Option<Seen>>>,
    date: Arc<OnceLock<String>>,
}

#[derive(Debug)]
struct Seen {
    certificate: Option<Validity>,
}

impl Connector for Watched {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Wire>, Error> {
        let mut connected = self.dialer.connect(details, chained)?;
        if let Some(wire) = &mut connected {
            wire.keep_date(Arc::clone(&self.date));
        }
        let certificate = connected.as_ref().and_then(Wire::certificate);
        let seen = Seen {
            certificate: certificate.and_then(tls::validity),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(connected)
    }
}
