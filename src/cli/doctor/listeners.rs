//! The certificates of relay's own listeners, as their files are now.

use std::path::Path;

use crate::acme;
use crate::cli::doctor::report::Report;
use crate::clock::Timestamp;
use crate::config::{Acme, Resolved};
use crate::ops::notices::{Renewer, Validity};
use crate::relay::certificate_problems;
use crate::tls;

const ACME: &str = "server.acme";
/// The advice on a certificate that relay obtains itself.
const SEE_THE_LOG: &str = "see relay's log: \"no certificate could be obtained\" has the reason";

pub(super) fn look(report: &mut Report, config: &Resolved, now: Timestamp) {
    let problems: Vec<_> = certificate_problems(config).collect();
    for (listener, settings) in [("server", &config.server.tls), ("admin", &config.admin.tls)] {
        if let Some(settings) = settings {
            let about = format!("{listener}.tls");
            let mut problems = problems.iter();
            if let Some((key, problem)) = problems.find(|(key, _)| key.starts_with(&about)) {
                report.fail(
                    &about,
                    format!("{key}: {problem}"),
                    "give it a certificate and its key: no server starts with these",
                );
                continue;
            }
            look_at(report, &about, &settings.cert_file, Renewer::Other, now);
        }
    }
    if let Some(settings) = &config.server.acme {
        look_at_acme(report, settings, &config.database.path, now);
    }
}

/// The certificate that relay has obtained, and the tries that brought none.
fn look_at_acme(report: &mut Report, settings: &Acme, database: &Path, now: Timestamp) {
    let stored = match acme::stored(database) {
        Ok(stored) => stored,
        Err(problem) => {
            return report.fail(ACME, problem, "run relay doctor as the user of the server");
        }
    };
    let failures = stored.failures;
    if let Some(path) = &stored.certificate {
        look_at(report, ACME, path, Renewer::Relay, now);
        look_at_names(report, path, &settings.domains);
    } else if failures == 0 {
        let fact = "there is no certificate yet: handshakes are refused";
        report.warn(ACME, fact, "start relay, which obtains one");
    }
    if failures > 0 && stored.certificate.is_none() {
        let fact = format!("there is no certificate, and {failures} tries brought none");
        report.fail(ACME, fact, SEE_THE_LOG);
    } else if failures > 0 {
        let fact = format!("the last {failures} tries to renew the certificate failed");
        report.warn(ACME, fact, SEE_THE_LOG);
    }
}

fn look_at_names(report: &mut Report, path: &Path, domains: &[String]) {
    let Ok(found) = tls::certificates(path) else {
        return;
    };
    let Some(certificate) = found.first() else {
        return;
    };
    let missing = domains
        .iter()
        .filter(|name| !tls::is_for(certificate, name));
    let missing: Vec<_> = missing.map(String::as_str).collect();
    if missing.is_empty() {
        let fact = format!("the certificate is for {}", domains.join(", "));
        report.ok(ACME, fact);
    } else {
        let fact = format!("the certificate is not for {}", missing.join(", "));
        report.fail(ACME, fact, SEE_THE_LOG);
    }
}

fn look_at(report: &mut Report, about: &str, path: &Path, renewer: Renewer, now: Timestamp) {
    let advice = match renewer {
        Renewer::Relay => SEE_THE_LOG,
        Renewer::Other => "see that it is renewed",
    };
    let shown = path.display();
    let facts = tls::certificates(path).map(|found| found.first().and_then(|der| tls::facts(der)));
    let facts = match facts {
        Ok(Some(facts)) => facts,
        Ok(None) => return report.fail(about, format!("{shown}: holds no certificate"), ""),
        Err(problem) => return report.fail(about, format!("{shown}: {problem}"), ""),
    };
    let (not_before, until) = (facts.not_before, facts.not_after);
    let days = until.since(now).as_secs() / 86_400;
    if until < now {
        let fact =
            format!("{shown}: the certificate expired on {until}: senders refuse the connection");
        report.fail(about, fact, advice);
    } else if not_before > now {
        let fact = format!("{shown}: the certificate is not valid before {not_before}");
        report.fail(about, fact, "see the clock, and the certificate");
    } else {
        let age = now.since(not_before).as_secs() / 86_400;
        let fact = format!(
            "{shown}: the certificate is valid for {days} days (until {until}), and {age} days old"
        );
        if Validity::from(&facts).is_expiring(renewer, now) {
            report.warn(about, fact, advice);
        } else {
            report.ok(about, fact);
        }
    }
}
