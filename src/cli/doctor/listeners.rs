//! The certificates of relay's own listeners, as their files are now.

use std::path::Path;

use crate::cli::doctor::destinations::is_short;
use crate::cli::doctor::report::Report;
use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::ops::notices::Validity;
use crate::tls;

pub(super) fn look(report: &mut Report, config: &Resolved, now: Timestamp) {
    for (listener, settings) in [("server", &config.server.tls), ("admin", &config.admin.tls)] {
        if let Some(settings) = settings {
            look_at(report, &format!("{listener}.tls"), &settings.cert_file, now);
        }
    }
}

fn look_at(report: &mut Report, about: &str, path: &Path, now: Timestamp) {
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
        let fact = format!("{shown}: the certificate expired on {until}");
        report.fail(about, fact, "renew it: senders refuse the connection");
    } else if not_before > now {
        let fact = format!("{shown}: the certificate is not valid before {not_before}");
        report.fail(about, fact, "see the clock, and the certificate");
    } else {
        let fact = format!("{shown}: the certificate is valid for {days} days (until {until})");
        let validity = Validity {
            not_before,
            not_after: until,
        };
        if is_short(validity, now) {
            report.warn(about, fact, "see that it is renewed");
        } else {
            report.ok(about, fact);
        }
    }
}
