//! The rules of single values, and the wording of their errors.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::http::{HeaderName, Uri};

use crate::config::secrets::Secret;
use crate::model::{has_fine_port, without_password};
pub(super) use crate::named_file::quoted;

/// The longest timeout. The bound finds a typo such as `"15d"` for `"15s"`.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest wait of a schedule and the longest idempotency window.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(30 * 86_400);
/// The largest body that can be allowed: each connection may hold one in memory.
pub(super) const MAX_BODY_BYTES: u64 = 64 << 20;

/// Nothing, or a key and the problem of its value.
pub(super) type Checked = Result<(), (String, String)>;

pub(super) const EXPECTED_NAME: &str =
    "expected a name of 1 to 64 characters out of A-Z a-z 0-9 . _ -";

pub(super) fn is_header_name(text: &str) -> bool {
    HeaderName::try_from(text).is_ok()
}

/// Whether two listeners collide. They are compared as addresses: `:8080` is `127.0.0.1:8080`, too.
pub(super) fn same_listener(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers =
        |any: IpAddr, ip: IpAddr| any.is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

/// Refuses a secret that is no signing secret, `whsec_…`.
pub(super) fn signing_secrets(key: &str, secrets: &[Secret]) -> Checked {
    match secrets.iter().position(|s| s.signing_key().is_none()) {
        Some(at) => bad_secret(key, at, "whsec_ and the base64 of 24 to 64 bytes"),
        None => Ok(()),
    }
}

/// Refuses a secret that looks like a reference: nothing would resolve it, and its text would be
/// the secret.
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

/// Refuses references that are left. Loading a file resolves and removes them; a configuration made
/// by a program can't have any.
pub(super) fn resolved(key: &str, has_variable: bool, has_file: bool) -> Checked {
    for (suffix, is_left) in [("env", has_variable), ("file", has_file)] {
        if is_left {
            return Err((
                format!("{key}_{suffix}"),
                format!("nobody resolves it here: expected the secrets themselves in {key}"),
            ));
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

/// A text in the place of a public key, which may be a secret that was mistaken for one.
pub(super) fn bad_public_key(key: &str, at: usize, text: &str, expected: &str) -> Checked {
    let is_secret = ["whsec_", "whsk_", "PRIVATE KEY"]
        .iter()
        .any(|mark| text.contains(mark));
    if is_secret {
        bad_secret(key, at, expected)
    } else {
        bad(key, quoted(text), expected)
    }
}

pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 || !millis.is_multiple_of(1000) {
        format!("{millis}ms")
    } else {
        format!("{}s", millis / 1000)
    }
}

/// Refuses a public URL with a query or a fragment: it is the beginning of other URLs.
pub(super) fn check_public_url(key: &str, url: &str) -> Checked {
    let is_absolute = url.parse::<Uri>().is_ok_and(|uri| {
        let authority = uri.authority();
        matches!(uri.scheme_str(), Some("http" | "https"))
            && authority.is_some_and(|authority| has_fine_port(authority.as_str()))
    });
    if is_absolute && !url.contains(['?', '#']) {
        return Ok(());
    }
    let expected = "a URL without a query, such as \"https://hooks.example.com\"";
    bad(key, quoted(&without_password(url)), expected)
}
