//! The way to each destination: its name, its addresses, the connection, the certificate.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cli::doctor::clock::SeenDate;
use crate::cli::doctor::report::Report;
use crate::clock::{Clock, Timestamp};
use crate::config::Resolved;
use crate::delivery;
use crate::model::{FailureKind, PingError, PingReport, SendPing, is_public};
use crate::ops::examination::{Examination, Examined};
use crate::ops::notices::{Renewer, Validity};

/// Destinations that are examined at once: a thread each, and a second one for its name.
const AT_ONCE: usize = 32;
/// The time for one of them. The time to connect is `delivery.connect_timeout`, 5 s by default.
const TIMEOUT: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(86_400);

/// Examines destinations, several at once. Returns the times by their clocks.
pub(super) fn look(
    report: &mut Report,
    config: &Arc<Resolved>,
    subjects: &[Examined],
    clock: &Arc<dyn Clock>,
    ping: Option<&SendPing>,
) -> Vec<SeenDate> {
    let next = Mutex::new(subjects.iter().enumerate());
    let found = Mutex::new(Vec::new());
    let examine = || {
        loop {
            let next = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, subject)) = next else {
                return;
            };
            let examination = delivery::examine(config, subject, TIMEOUT, clock);
            let pinged = match (subject, ping) {
                (Examined::Named(name), Some(send)) => Some(send(name)),
                _ => None,
            };
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push((number, examination, pinged));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(subjects.len()) {
            scope.spawn(examine);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(number, ..)| *number);
    let mut dates = Vec::new();
    for ((_, examination, pinged), subject) in found.into_iter().zip(subjects) {
        let subject = Subject::of(config, subject);
        match examination {
            None => {
                let fact = "was not asked: this build contacts nobody";
                report.warn(&subject.about, fact, "build with --features delivery");
            }
            Some(examination) => {
                subject.report(report, &examination, clock.wall());
                dates.extend(subject.date(&examination));
            }
        }
        if let Some(pinged) = pinged {
            report_ping(report, &subject.about, &pinged);
        }
    }
    dates
}

/// A destination as it is spoken of.
struct Subject {
    about: String,
    /// Up to the path, which may be a secret.
    origin: String,
    host: String,
    /// The key of its URL; none for an ad hoc one.
    key: Option<String>,
    proxy: Option<String>,
}

impl Subject {
    fn of(config: &Resolved, subject: &Examined) -> Self {
        let (policy, url, about, key) = match subject {
            Examined::Named(name) => {
                let policy = config.destination(name);
                let key = format!("destinations.{name}.url");
                let about = format!("destination {name}");
                (policy, policy.url.clone(), about, Some(key))
            }
            Examined::AdHoc(url) => {
                let about = format!("ad hoc {}", url.origin());
                (config.adhoc(), Some(url.clone()), about, None)
            }
        };
        let host = url.as_ref().map_or("", |url| url.host()).to_owned();
        let proxy = policy.network.proxy.as_ref();
        let proxy = proxy.filter(|proxy| proxy.is_for(&host));
        Self {
            about,
            origin: url.map_or_else(String::new, |url| url.origin().to_owned()),
            host,
            key,
            proxy: proxy.map(|proxy| proxy.url.to_string()),
        }
    }

    fn report(&self, report: &mut Report, found: &Examination, now: Timestamp) {
        self.report_addresses(report, found);
        let Some(connected) = found.connected else {
            let (_, problem) = failure(found);
            return report.fail(&self.about, problem, self.advice(found));
        };
        let millis = connected.as_millis();
        let through = self.through();
        let (tls, https) = match found.certificate {
            Some(_) => (", TLS included", "TLS"),
            None => ("", "TCP"),
        };
        let fact = format!(
            "{} takes {https} connections{through} ({millis} ms{tls})",
            self.origin
        );
        report.ok(&self.about, fact);
        if let Some(validity) = found.certificate {
            self.report_certificate(report, validity, now);
        }
        if found.failure.is_some() {
            let (_, problem) = failure(found);
            let fact = format!("a HEAD of its origin got no answer: {problem}");
            report.warn(
                &self.about,
                fact,
                "a POST may fare better: relay show EVENT tells",
            );
        }
    }

    /// The name and its addresses, as far as they were found.
    fn report_addresses(&self, report: &mut Report, found: &Examination) {
        let Some(addresses) = found.addresses.as_deref().filter(|text| !text.is_empty()) else {
            return;
        };
        if matches!(&found.failure, Some((FailureKind::ForbiddenAddress, _))) {
            return;
        }
        if self.proxy.is_some() {
            let fact = format!("{addresses}{}: it resolves {}", self.through(), self.host);
            return report.ok(&self.about, fact);
        }
        let parsed = addresses
            .split(", ")
            .filter_map(|text| text.parse::<IpAddr>().ok());
        let is_private = parsed.into_iter().any(|address| !is_public(address));
        let verdict = match (is_private, &self.key) {
            (false, _) => "public".to_owned(),
            (true, Some(key)) => format!("a private address, which {key} may have"),
            (true, None) => "a private address, which delivery.allow_networks allows".to_owned(),
        };
        report.ok(
            &self.about,
            format!("{} is at {addresses}: {verdict}", self.host),
        );
    }

    fn report_certificate(&self, report: &mut Report, validity: Validity, now: Timestamp) {
        let left = validity.not_after.since(now);
        let days = left.as_secs() / DAY.as_secs();
        let until = validity.not_after;
        let fact = format!("its certificate is trusted, and valid for {days} days (until {until})");
        if validity.is_expiring(Renewer::Other, now) {
            report.warn(&self.about, fact, "see that it is renewed");
        } else {
            report.ok(&self.about, fact);
        }
    }

    /// The next step after there was no connection.
    fn advice(&self, found: &Examination) -> String {
        let (kind, _) = failure(found);
        let Self { host, origin, .. } = self;
        let key = self.key.as_deref().unwrap_or("the URL");
        match kind {
            FailureKind::Dns => format!(
                "see that the name in {key} is right ({host}), and that this machine's name server \
                 answers"
            ),
            FailureKind::Refused => format!("see that something listens at {origin}"),
            FailureKind::Timeout | FailureKind::Reset => {
                format!("see that {origin} can be reached from here: firewall, route, port")
            }
            FailureKind::Proxy => "see that the proxy runs and lets relay through".to_owned(),
            FailureKind::Tls => format!("see the certificate of {origin}, or {key}"),
            _ => String::new(),
        }
    }

    fn through(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!(" through the proxy {proxy}"),
            None => String::new(),
        }
    }

    /// How far the clock of the destination is ahead of this machine's.
    fn date(&self, found: &Examination) -> Option<SeenDate> {
        let answer = found.answer?;
        let ahead = answer
            .date?
            .as_millis()
            .checked_sub(answer.at.as_millis())?;
        Some(SeenDate {
            about: self.about.clone(),
            ahead,
        })
    }
}

fn report_ping(report: &mut Report, about: &str, pinged: &Result<PingReport, PingError>) {
    match pinged {
        Ok(ping) if ping.is_delivered => {
            let (status, millis) = (ping.status_code.unwrap_or_default(), ping.took.as_millis());
            let fact = format!("took a relay.ping: it answered {status} within {millis} ms");
            report.ok(about, fact);
        }
        Ok(ping) => {
            let problem = ping.error.as_deref().unwrap_or("it was not delivered");
            let fact = format!("did not take a relay.ping: {problem}");
            report.fail(about, fact, "its deliveries would fail alike");
        }
        Err(PingError::ContactsNobody(level)) => {
            let fact = format!("was not pinged: delivery.level is \"{level}\"");
            report.warn(about, fact, "expected \"http\" or \"durable\"");
        }
        Err(PingError::NotConfigured) => report.fail(about, "is not configured", ""),
    }
}

fn failure(found: &Examination) -> (FailureKind, &str) {
    match &found.failure {
        Some((kind, problem)) => (*kind, problem),
        None => (FailureKind::Internal, "no connection was made"),
    }
}
