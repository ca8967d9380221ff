//! Classifies an answer, or its absence. Pure.

use std::time::Duration;

use rustix::io::Errno;
use ureq::http::StatusCode;
use ureq::http::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use crate::clock::Timestamp;
use crate::config::DestinationPolicy;
use crate::delivery::levels::http::errors::{Forbidden, NameNotFound, NotMade, TlsNotBegun};
use crate::delivery::levels::http::proxy::ProxyFailed;
use crate::delivery::levels::http::tls;
use crate::delivery::levels::http::wire::HeadTooLarge;
use crate::delivery::outcome::{Class, Outcome};
use crate::model::{self, FailureKind};
use crate::ops::visible::{is_hidden, replaced};

/// Characters of an error; the longest that ureq and rustls write have some 200.
const MAX_ERROR: usize = 500;
/// Characters of a redirect's `Location` that an error shows.
const MAX_LOCATION: usize = 300;

/// A redirect: its target, and the URL that answered with it.
pub(super) struct Redirect<'a> {
    pub to: &'a HeaderValue,
    pub from: &'a str,
}

/// The class of a status: the contract's table, with the destination's own exceptions.
pub(super) fn classify(
    status: StatusCode,
    policy: &DestinationPolicy,
    redirect: Option<&Redirect<'_>>,
) -> (Class, Option<String>) {
    let code = status.as_u16();
    let class = match code {
        200..=299 => Class::Delivered,
        _ if policy.transient_statuses.contains(&code) => Class::Transient,
        _ if policy.permanent_statuses.contains(&code) => Class::Permanent,
        400 | 405 | 406 | 410 | 411 | 413 | 414 | 415 | 422 | 426 | 431 | 451 | 501 | 505 => {
            Class::Permanent
        }
        // 408, 425, 429, 5xx; and 401, 403, 404, 409, redirects and the rest: a deploy or a wrong
        // secret, which an operator corrects while relay retries.
        _ => Class::Transient,
    };
    let error = (class != Class::Delivered).then(|| {
        let to = redirect
            .filter(|_| status.is_redirection())
            .map_or_else(String::new, |redirect| {
                format!(" to {}", shown_location(redirect))
            });
        format!("{}{to}", answered(status))
    });
    (class, error)
}

/// The words for a status.
fn answered(status: StatusCode) -> String {
    let reason = status
        .canonical_reason()
        .map_or_else(String::new, |reason| format!(" {reason}"));
    format!("answered {}{reason}", status.as_u16())
}

/// A redirect's target for an error message. User information, query and the destination's own path
/// are left out, since they may be secret; hidden characters are replaced, since a terminal would
/// obey them.
fn shown_location(redirect: &Redirect<'_>) -> String {
    let text = String::from_utf8_lossy(redirect.to.as_bytes());
    let text = text.trim();
    let (path, has_more) = match text.find(['?', '#']) {
        Some(at) => (&text[..at], true),
        None => (text, false),
    };
    // Browsers read an authority after two slashes of either kind, up to the next slash.
    let is_slash = |c: char| c == '/' || c == '\\';
    let scheme = path.find(is_slash).map_or(0, |first| {
        path[first..]
            .find(|c| !is_slash(c))
            .map_or(path.len(), |at| first + at)
    });
    let (before, rest) = path.split_at(scheme);
    let (origin, path) = if before.chars().filter(|&c| is_slash(c)).count() >= 2 {
        let (authority, path) = rest.split_at(rest.find(is_slash).unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        (format!("{before}{host}"), path)
    } else {
        (String::new(), path)
    };
    // A redirect to https, or to the same path with a slash at its end, repeats the own path.
    let after_own = own_path(redirect.from).and_then(|own| path.strip_prefix(own));
    let shown = match after_own.filter(|more| more.is_empty() || more.starts_with('/')) {
        Some(more) => format!("{origin}/…{more}"),
        None => format!("{origin}{path}"),
    };
    let has_rest = shown.chars().count() > MAX_LOCATION;
    let mut shown: String = shown.chars().map(replaced).take(MAX_LOCATION).collect();
    if has_rest {
        shown.push('…');
    } else if has_more {
        shown.push_str("?…");
    }
    shown
}

/// The path of a URL without a slash at its end; none if it has none.
fn own_path(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')?..];
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    Some(path.trim_end_matches('/')).filter(|path| !path.is_empty())
}

/// `Retry-After` of 429 and 503: seconds, or an HTTP date. None if it is malformed or negative.
pub(super) fn retry_after(headers: &HeaderMap, status: u16, now: Timestamp) -> Option<Duration> {
    if status != 429 && status != 503 {
        return None;
    }
    model::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// The outcome of an attempt whose answer began with this status, and whose body `failed`.
pub(super) fn incomplete(status: StatusCode, failed: Outcome) -> Outcome {
    if !failed.is_made {
        return failed;
    }
    let answered = answered(status);
    let error = match (failed.failure, failed.error) {
        (Some(FailureKind::Reset), _) => Some(format!("{answered}, but its body ended early")),
        (_, Some(why)) => Some(format!("{answered}, but its body can't be read: {why}")),
        (_, None) => None,
    };
    Outcome {
        status_code: Some(status.as_u16()),
        error,
        ..failed
    }
}

/// The outcome of an attempt without a complete answer.
pub(super) fn failure(error: &ureq::Error, policy: &DestinationPolicy) -> Outcome {
    if let ureq::Error::Other(inner) = error
        && let Some(forbidden) = inner.downcast_ref::<Forbidden>()
    {
        return Outcome::failed(
            Class::Permanent,
            FailureKind::ForbiddenAddress,
            forbidden.to_string(),
        );
    }
    if let ureq::Error::Other(inner) = error
        && inner.is::<NotMade>()
    {
        return Outcome {
            is_made: false,
            ..Outcome::failed(Class::Transient, FailureKind::Internal, inner.to_string())
        };
    }
    if let ureq::Error::Other(inner) = error
        && let Some(failed) = inner.downcast_ref::<ProxyFailed>()
    {
        return Outcome::failed(Class::Transient, failed.kind(), failed.to_string());
    }
    let (kind, text) = match error {
        ureq::Error::Other(inner) if inner.is::<HeadTooLarge>() => {
            (FailureKind::ResponseHeadersTooLarge, inner.to_string())
        }
        ureq::Error::Timeout(phase) => (FailureKind::Timeout, late(*phase, policy)),
        ureq::Error::Other(inner) if inner.is::<TlsNotBegun>() => {
            (FailureKind::Reset, inner.to_string())
        }
        ureq::Error::Other(inner) if inner.is::<NameNotFound>() => {
            (FailureKind::Dns, inner.to_string())
        }
        ureq::Error::HostNotFound => (FailureKind::Dns, "the host's name is unknown".to_owned()),
        ureq::Error::Io(error) => io_failure(error, policy),
        ureq::Error::Tls(text) => (FailureKind::Tls, (*text).to_owned()),
        other => (FailureKind::Protocol, other.to_string()),
    };
    let text: String = text
        .chars()
        .map(|c| if is_hidden(c) { ' ' } else { c })
        .take(MAX_ERROR)
        .collect();
    Outcome::failed(Class::Transient, kind, text)
}

/// The words for a phase that took too long.
fn late(phase: ureq::Timeout, policy: &DestinationPolicy) -> String {
    match phase {
        ureq::Timeout::Resolve => {
            "timed out: its name was not found within delivery.connect_timeout".to_owned()
        }
        ureq::Timeout::Connect => {
            "timed out: no connection, TLS included, within delivery.connect_timeout".to_owned()
        }
        _ => {
            let millis = policy.timeout.as_millis();
            format!("timed out: no complete answer within {millis} ms")
        }
    }
}

fn io_failure(error: &std::io::Error, policy: &DestinationPolicy) -> (FailureKind, String) {
    /// This machine is short of descriptors or of memory.
    const SHORTAGES: [Errno; 3] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];

    // An error of TLS comes wrapped as an I/O error.
    if let Some(inner) = error.get_ref()
        && let Some(error) = inner.downcast_ref()
    {
        let presents_one = policy.network.client_certificate.is_some();
        return (FailureKind::Tls, tls::explain(error, presents_one));
    }
    if Errno::from_io_error(error).is_some_and(|code| SHORTAGES.contains(&code)) {
        return (FailureKind::Internal, error.to_string());
    }
    match error.kind() {
        // There is no address of that family here: no destination was contacted.
        std::io::ErrorKind::AddrNotAvailable => (FailureKind::Internal, error.to_string()),
        std::io::ErrorKind::ConnectionRefused => {
            (FailureKind::Refused, "connection refused".to_owned())
        }
        std::io::ErrorKind::ConnectionReset
        | std::io::ErrorKind::ConnectionAborted
        | std::io::ErrorKind::BrokenPipe => (FailureKind::Reset, "connection reset".to_owned()),
        std::io::ErrorKind::UnexpectedEof => (
            FailureKind::Reset,
            "the connection ended before the answer".to_owned(),
        ),
        std::io::ErrorKind::TimedOut => (FailureKind::Timeout, error.to_string()),
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
            (FailureKind::Protocol, error.to_string())
        }
        _ => (FailureKind::Reset, error.to_string()),
    }
}

#[cfg(test)]
mod tests;
