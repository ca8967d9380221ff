//! When a server wants to be asked again.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Timestamp;

/// Reads the value of `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3). None if it is
/// malformed or negative.
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Too many digits to fit are more seconds than any cap.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let millis = date.duration_since(UNIX_EPOCH).ok()?.as_millis();
    let at = Timestamp::from_millis(i64::try_from(millis).ok()?);
    Some(at.since(now))
}
