//! A request of the console with its caller.

use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;

use super::page::{Frame, Note, Tab};
use crate::clock::Timestamp;
use crate::http::admin::access::caller::{Caller, Role};
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::store::DestinationOverview;

/// The largest form, which is that of an operation with all its filters.
const MAX_FORM_BYTES: u64 = 64 * 1024;
/// The parameter that names the result of the form before.
const SAID: &str = "said";

/// A request of the console with its caller.
pub(super) struct Visit<'a> {
    pub app: &'a App,
    pub context: &'a RequestContext,
    pub head: &'a Parts,
    pub caller: Caller,
}

impl Visit<'_> {
    pub fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Whether the caller sees the forms that change something.
    pub fn may_operate(&self) -> bool {
        self.caller.role == Role::Operate
    }

    /// The parameters of the request, and the result of the form that led here.
    pub fn query(&self) -> Result<(Parameters, Option<Note>), ApiError> {
        let mut parameters = Parameters::parse(self.head.uri.query());
        let said = parameters.take(SAID)?;
        let text = said.and_then(|id| self.app.form_results.find(&id));
        Ok((parameters, text.map(Note::result)))
    }

    /// Refuses parameters of a page that has none, and returns the result of the form before.
    pub fn no_query(&self) -> Result<Option<Note>, ApiError> {
        let (parameters, said) = self.query()?;
        parameters.end()?;
        Ok(said)
    }

    /// The frame of a page, with the troubles of the relay.
    pub fn frame(&self, title: impl Into<String>, tab: Tab, said: Option<Note>) -> Frame {
        let frame = Frame::new(title, tab, &self.caller).with(said);
        let mut frame = frame.among_nodes(has_nodes(self.app));
        if self.app.store.is_held() {
            let text = "This is a restored backup, and it is held: requests are accepted, and \
                        nothing is sent until";
            frame.notes.push(Note {
                command: Some("relay resume --all"),
                ..Note::hint(text.to_owned())
            });
        }
        if let Err(unready) = self.app.store.readiness() {
            let text = format!("Nothing can be accepted: {}.", unready.reason());
            frame.notes.push(Note::trouble(text));
        }
        frame
    }

    /// The path of a page that tells the result of a form.
    pub fn path_with(&self, path: &str, said: String) -> String {
        let id = self.app.form_results.add(said);
        let and = if path.contains('?') { '&' } else { '?' };
        let (path, anchor) = path.split_once('#').unwrap_or((path, ""));
        let hash = if anchor.is_empty() { "" } else { "#" };
        format!("{path}{and}{SAID}={id}{hash}{anchor}")
    }
}

/// Whether several nodes can share the database.
pub(super) fn has_nodes(app: &App) -> bool {
    app.config.database.url.is_some()
}

/// Reads a form.
pub(super) async fn form(
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> Result<Parameters, ApiError> {
    let content_type = head.headers.get(CONTENT_TYPE);
    let is_form = content_type.and_then(|value| value.to_str().ok());
    let is_form = is_form.is_some_and(|text| {
        let kind = text.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(ApiError::not_a_form());
    }
    let bytes = body.read(MAX_FORM_BYTES, context.deadline).await?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| ApiError::malformed("expected a form in ASCII"))?;
    Ok(Parameters::parse(Some(text)))
}

/// A duration in whole milliseconds, as it is shown.
pub(super) fn millis(duration: Duration) -> String {
    match duration.as_micros() {
        0..1000 => "< 1 ms".to_owned(),
        1000..10_000_000 => format!("{} ms", grouped(duration.as_millis())),
        micros => format!("{} s", grouped(micros / 1_000_000)),
    }
}

/// A number with thin spaces between groups of three digits.
pub(super) fn grouped(number: impl Copy + ToString) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.char_indices() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && !shown.ends_with('-') {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// A count of rows, which ends at 10 000.
pub(super) fn capped(count: i64) -> String {
    if count > DestinationOverview::MAX_COUNT {
        return format!("{}+", grouped(DestinationOverview::MAX_COUNT));
    }
    grouped(count)
}

/// A number of bytes in its largest unit.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut unit = 0;
    let mut tenths = number.saturating_mul(10) / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths >= 1000 {
        return format!("{} {}", tenths / 10, UNITS[unit]);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_sizes_have_a_unit() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1\u{202f}234");
        assert_eq!(grouped(-123), "-123");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (8 * 1024 * 1024, "8.0 MiB"),
            (250 * 1024 * 1024, "250 MiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(millis(Duration::from_micros(300)), "< 1 ms");
        assert_eq!(millis(Duration::from_millis(42)), "42 ms");
        assert_eq!(millis(Duration::from_secs(42)), "42 s");
    }
}
