//! Rules for single values, and how a broken one is put into words.

use std::fmt::{Debug, Display};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{BreakerSettings, RateLimit, RetrySettings, Secret};

/// The longest of the settable waits. A bound exists so that a typo (`"15d"` for `"15s"`) is found.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest wait in a schedule and the longest idempotency window.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(30 * 86_400);
/// The longest that a breaker keeps a destination waiting for the next look at it.
const MAX_BREAKER_WAIT: Duration = Duration::from_secs(24 * 3600);
/// More attempts than anybody reads the history of.
const MAX_SCHEDULE: u32 = 100;

/// Nothing, or the key and what is wrong with it.
pub(super) type Checked = Result<(), (String, String)>;

pub(super) const EXPECTED_NAME: &str =
    "expected a name of 1 to 64 characters out of A-Z a-z 0-9 . _ -";

/// Compared as addresses, not as strings: `:8080` is `127.0.0.1:8080` too.
pub(super) fn same_listener(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers =
        |any: IpAddr, ip: IpAddr| any.is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

/// Secrets that sign: each must be one.
pub(super) fn signing_secrets(key: &str, secrets: &[Secret]) -> Checked {
    match secrets.iter().position(|s| s.signing_key().is_none()) {
        Some(at) => bad_secret(key, at, "whsec_ and the base64 of 24 to 64 bytes"),
        None => Ok(()),
    }
}

/// A secret that looks like a reference which nobody resolves would become the secret itself.
pub(super) fn not_a_reference(key: &str, at: usize, secret: &Secret) -> Checked {
    let text = secret.reveal();
    if text.starts_with("env:") || text.starts_with("file:") || text.starts_with("${") {
        return bad_secret(
            key,
            at,
            "the secret itself; for a reference use …_env or …_file",
        );
    }
    Ok(())
}

/// Loading a file resolves its references and takes them away; nobody does so for a configuration
/// made by a program.
pub(super) fn resolved(key: &str, env: bool, file: bool) -> Checked {
    for (suffix, is_left) in [("env", env), ("file", file)] {
        if is_left {
            return Err((
                format!("{key}_{suffix}"),
                format!("nobody resolves it here: expected the secrets themselves in {key}"),
            ));
        }
    }
    Ok(())
}

pub(super) fn limits(key: &str, rate: Option<&RateLimit>, concurrency: Option<u32>) -> Checked {
    if let Some(limit) = rate {
        rate_limit(&format!("{key}.rate_limit"), limit)?;
    }
    match concurrency {
        Some(at_once) => within(&format!("{key}.concurrency"), at_once, 1, 1024),
        None => Ok(()),
    }
}

pub(super) fn rate_limit(key: &str, limit: &RateLimit) -> Checked {
    // Above a million a second the period comes near the nanosecond that the limiter counts in.
    if !(limit.per_second > 0.0 && limit.per_second <= 1e6) {
        return bad(
            &format!("{key}.per_second"),
            limit.per_second,
            "more than 0 and at most 1000000",
        );
    }
    within(&format!("{key}.burst"), limit.burst, 1, 1_000_000)?;
    // The limiter counts nanoseconds in 64 bits: a bucket must fill within some 500 years.
    let seconds_to_fill = f64::from(limit.burst) / limit.per_second;
    if seconds_to_fill > 1e9 {
        return bad(
            &format!("{key}.per_second"),
            limit.per_second,
            "more, or a smaller burst",
        );
    }
    Ok(())
}

pub(super) fn retry(key: &str, retry: &RetrySettings) -> Checked {
    if let Some(jitter) = retry.jitter
        && !(0.0..=1.0).contains(&jitter)
    {
        return bad(&format!("{key}.jitter"), jitter, "0 to 1");
    }
    let has_growth = retry.factor.is_some() || retry.cap.is_some() || retry.attempts.is_some();
    match retry.base {
        None if has_growth => {
            return Err((
                format!("{key}.base"),
                "missing: factor, cap and attempts want it".to_owned(),
            ));
        }
        Some(_) if retry.schedule.is_some() => {
            return Err((
                format!("{key}.base"),
                "contradicts schedule: expected one of the two".to_owned(),
            ));
        }
        _ => {}
    }
    if let Some(factor) = retry.factor
        && !(1.0..=100.0).contains(&factor)
    {
        return bad(&format!("{key}.factor"), factor, "1 to 100");
    }
    if let Some(attempts) = retry.attempts {
        within(&format!("{key}.attempts"), attempts, 1, MAX_SCHEDULE + 1)?;
    }
    for (name, wait) in [("base", retry.base), ("cap", retry.cap)] {
        if let Some(wait) = wait
            && wait > MAX_WAIT
        {
            return bad(&format!("{key}.{name}"), shown(wait), "at most 30d");
        }
    }
    let schedule = retry.schedule.as_deref().unwrap_or_default();
    let key = format!("{key}.schedule");
    if schedule.len() > MAX_SCHEDULE as usize {
        return bad(&key, schedule.len(), "at most 100 waits");
    }
    match schedule.iter().find(|&&wait| wait > MAX_WAIT) {
        Some(&wait) => bad(&key, shown(wait), "at most 30d"),
        None => Ok(()),
    }
}

/// Whether they are any good is for TLS to say; this finds the wrong file.
pub(super) fn certificates(key: &str, path: &Path) -> Checked {
    match std::fs::read_to_string(path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Ok(()),
        Ok(_) => bad(key, quoted(path), "a PEM file of certificates"),
        Err(error) => Err((key.to_owned(), format!("\"{}\": {error}", path.display()))),
    }
}

pub(super) fn breaker(key: &str, breaker: &BreakerSettings) -> Checked {
    for (name, number) in [
        ("failures", breaker.failures),
        ("min_attempts", breaker.min_attempts),
    ] {
        if let Some(number) = number {
            within(&format!("{key}.{name}"), number, 1, 1_000_000)?;
        }
    }
    if let Some(ratio) = breaker.ratio
        && !(ratio > 0.0 && ratio <= 1.0)
    {
        return bad(&format!("{key}.ratio"), ratio, "more than 0 and at most 1");
    }
    for (name, wait) in [
        ("window", breaker.window),
        ("probe_after", breaker.probe_after),
        ("probe_cap", breaker.probe_cap),
    ] {
        if let Some(wait) = wait
            && (wait.is_zero() || wait > MAX_BREAKER_WAIT)
        {
            return bad(&format!("{key}.{name}"), shown(wait), "1ms to 24h");
        }
    }
    Ok(())
}

pub(super) fn within<T: PartialOrd + Display + Copy>(
    key: &str,
    value: T,
    low: T,
    high: T,
) -> Checked {
    if value < low || value > high {
        return bad(key, value, &format!("{low} to {high}"));
    }
    Ok(())
}

pub(super) fn timeout(key: &str, value: Duration) -> Checked {
    if value.is_zero() || value > MAX_TIMEOUT {
        return bad(key, shown(value), "1ms to 1h");
    }
    Ok(())
}

pub(super) fn bad(key: &str, value: impl Display, expected: &str) -> Checked {
    Err((key.to_owned(), format!("{value}: expected {expected}")))
}

pub(super) fn bad_secret(key: &str, at: usize, expected: &str) -> Checked {
    bad(key, format_args!("*** (number {})", at + 1), expected)
}

pub(super) fn quoted(text: &(impl Debug + ?Sized)) -> String {
    format!("{text:?}")
}

pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 || !millis.is_multiple_of(1000) {
        format!("{millis}ms")
    } else {
        format!("{}s", millis / 1000)
    }
}
