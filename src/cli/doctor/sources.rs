//! How senders reach each source: its URL, how their requests are verified, their handshakes.

use crate::cli::doctor::handshakes::{self, Outcome};
use crate::cli::doctor::report::Report;
use crate::cli::send::post::Door;
use crate::config::{Handshake, Resolved, SourcePolicy, Verify};
use crate::model::shown_url;

/// `is_served`: whether a server has the database open, so that it can be asked.
pub(super) fn look(report: &mut Report, config: &Resolved, names: &[String], is_served: bool) {
    for name in names {
        let Some(source) = config.sources.get(name) else {
            continue;
        };
        let about = format!("source {name}");
        look_at_url(report, &about, config, name, source);
        look_at_verification(report, &about, source);
        if source.handshakes.is_empty() {
            continue;
        }
        let listen = config.server.listen;
        let door = Door::of(listen, config.server.speaks_tls());
        let door = Some(door).filter(|_| is_served && listen.port() != 0);
        look_at_handshakes(report, &about, name, source, door.as_ref());
    }
}

fn look_at_url(
    report: &mut Report,
    about: &str,
    config: &Resolved,
    name: &str,
    source: &SourcePolicy,
) {
    let name = if name == "*" { "NAME" } else { name };
    if let Some(url) = &source.public_url {
        let fact = format!("its sender posts to {}/webhooks/{name}", shown_url(url));
        return report.ok(about, fact);
    }
    let door = Door::of(config.server.listen, config.server.speaks_tls());
    let fact = format!(
        "on this machine its sender posts to {door}/webhooks/{name} \
         (server.public_url says how others reach it)"
    );
    report.ok(about, fact);
}

fn look_at_verification(report: &mut Report, about: &str, source: &SourcePolicy) {
    let Some(verify) = &source.verify else {
        return if source.allow_ips.is_empty() {
            let fact = "is not verified: everybody who reaches its URL can send events";
            report.warn(about, fact, "expected provider, verify or allow_ips");
        } else {
            report.ok(
                about,
                "is verified by the sender's address alone (allow_ips)",
            );
        };
    };
    let schemes = verify.schemes();
    let mut missing = false;
    let described: Vec<String> = schemes
        .into_iter()
        .map(|scheme| match scheme {
            Verify::PublicKey(_) => format!("{} of its sender", scheme.name()),
            _ if scheme.secrets().is_empty() => {
                missing |= !matches!(scheme, Verify::StandardWebhooks(_));
                scheme.name().to_owned()
            }
            _ => format!("{} (secrets: {})", scheme.name(), scheme.secrets().len()),
        })
        .collect();
    let fact = format!("is verified by {}", described.join(" or "));
    if missing && source.learns_secrets() {
        let advice = "relay secrets expect lets it learn the secret; relay secrets list shows it";
        report.warn(
            about,
            format!("{fact}, whose secret a handshake brings"),
            advice,
        );
    } else {
        report.ok(about, fact);
    }
}

fn look_at_handshakes(
    report: &mut Report,
    about: &str,
    name: &str,
    source: &SourcePolicy,
    door: Option<&Door>,
) {
    let Some(door) = door else {
        let fact = "its handshakes were not tried: no server runs that could answer";
        return report.warn(about, fact, "run relay doctor beside relay serve");
    };
    let is_admitted = |source: &SourcePolicy| {
        let mut networks = source.allow_ips.iter();
        source.allow_ips.is_empty() || networks.any(|net| net.contains(&door.address.ip()))
    };
    for handshake in &source.handshakes {
        let Handshake::Named(handshake) = handshake else {
            report.ok(
                about,
                "a handshake of its own was not tried: only its sender knows it",
            );
            continue;
        };
        let shown = handshake.as_str();
        if !is_admitted(source) {
            let fact = format!("{shown} was not tried: allow_ips keeps this machine out");
            report.ok(about, fact);
            continue;
        }
        match handshakes::try_at(door, name, source, *handshake) {
            Outcome::Answered => {
                report.ok(about, format!("the handshake {shown} is answered"));
            }
            Outcome::NotTried(why) => report.ok(about, format!("{shown} was not tried: {why}")),
            Outcome::Failed(problem) => {
                let fact = format!("the handshake {shown} fails: {problem}");
                let advice = "its sender would not take the URL: see the secrets and tokens";
                report.fail(about, fact, advice);
            }
        }
    }
}
