//! Reads a signature and its time from their configured places, and the content that is signed.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::config::{Encoding, SignedRequest, TimestampFormat};
use crate::http::admission::signatures::contract::Rejection;
use crate::model::base64;
use crate::model::request::{RequestView, SignatureField, SignatureFormat, Template};

/// Signatures compared in one request. A provider sends one for each of its secrets, and has two
/// secrets while it rotates them.
pub(super) const MAX_SIGNATURES: usize = 16;
/// The longest time ahead that a tolerance allows. Providers repeat requests under their first
/// time, hours later; none signs with a time that is to come.
const MAX_AHEAD: Duration = Duration::from_secs(3600);
/// The longest timestamp. RFC 3339 with nanoseconds and an offset has 35 characters.
const MAX_TIMESTAMP: usize = 64;

/// Reads signed requests.
pub(super) struct SignedRequestReader {
    headers: Vec<HeaderName>,
    signature: Option<Template>,
    format: SignatureFormat,
    encoding: Encoding,
    timestamp_header: Option<HeaderName>,
    timestamp: Option<Template>,
    timestamp_format: TimestampFormat,
    signed: Template,
    tolerance: Duration,
}

/// The claim that a request makes. Comparing its signatures decides whether it is true.
#[derive(Debug, Default)]
pub(super) struct SignatureClaim {
    /// The signatures that can be decoded.
    pub signatures: Vec<Vec<u8>>,
    timestamp: Option<String>,
    /// Whether a signature came after the timestamp.
    has_signature_since: bool,
}

impl SignedRequestReader {
    /// The reader of checked settings.
    pub fn new(settings: SignedRequest) -> Self {
        Self {
            headers: settings
                .headers
                .iter()
                .map(|name| header_name(name))
                .collect(),
            signature: settings.signature,
            format: settings.format,
            encoding: settings.encoding,
            timestamp_header: settings.timestamp_header.as_deref().map(header_name),
            timestamp: settings.timestamp,
            timestamp_format: settings.timestamp_format,
            signed: settings.signed,
            tolerance: settings.tolerance,
        }
    }

    /// Checks what doesn't depend on the body.
    pub fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        let is_of_body =
            |place: &Option<Template>| place.as_ref().is_some_and(Template::needs_body);
        if is_of_body(&self.signature) || is_of_body(&self.timestamp) {
            return Ok(());
        }
        let claim = self.read(request, now)?;
        Ok(self
            .signed
            .check_head(request, claim.timestamp.as_deref())?)
    }

    /// Reads the signatures and the time, which is within the tolerance.
    pub fn read(
        &self,
        request: &RequestView<'_>,
        now: Timestamp,
    ) -> Result<SignatureClaim, Rejection> {
        let mut claim = SignatureClaim::default();
        if let Some(template) = &self.signature {
            let text = template.evaluate(request)?;
            let text = std::str::from_utf8(&text)
                .map_err(|_| Rejection::Unreadable(template.as_str().to_owned()))?;
            self.read_fields(text, template.as_str(), &mut claim)?;
        } else {
            self.read_headers(request, &mut claim)?;
        }
        if claim.signatures.is_empty() {
            return Err(Rejection::Unreadable(self.place().to_owned()));
        }
        if let Some(name) = &self.timestamp_header {
            claim.timestamp = Some(text_header(request, name)?.to_owned());
        } else if let Some(template) = &self.timestamp {
            let text = String::from_utf8(template.evaluate(request)?);
            let text = text.map_err(|_| Rejection::Unreadable(template.as_str().to_owned()))?;
            claim.timestamp = Some(text);
        } else if self.format.has_timestamp() && claim.timestamp.is_none() {
            return Err(Rejection::Unreadable(format!(
                "the time in {}",
                self.place()
            )));
        }
        if let Some(timestamp) = &claim.timestamp {
            check_time(timestamp, self.timestamp_format, self.tolerance, now)?;
        }
        Ok(claim)
    }

    /// The bytes that are signed, in pieces.
    pub fn content<'a>(
        &'a self,
        request: &RequestView<'a>,
        claim: &'a SignatureClaim,
    ) -> Result<Vec<Cow<'a, [u8]>>, Rejection> {
        Ok(self.signed.segments(request, claim.timestamp.as_deref())?)
    }

    /// The place of the signature, for the log.
    fn place(&self) -> &str {
        match &self.signature {
            Some(template) => template.as_str(),
            None => self.headers.first().map_or("signature", HeaderName::as_str),
        }
    }

    fn read_headers(
        &self,
        request: &RequestView<'_>,
        claim: &mut SignatureClaim,
    ) -> Result<(), Rejection> {
        let mut is_there = false;
        for name in &self.headers {
            for value in request.headers.get_all(name) {
                is_there = true;
                self.read_fields(text(value, name)?, name.as_str(), claim)?;
            }
        }
        if is_there {
            Ok(())
        } else {
            Err(Rejection::NoHeader(self.place().to_owned()))
        }
    }

    fn read_fields(
        &self,
        text: &str,
        place: &str,
        claim: &mut SignatureClaim,
    ) -> Result<(), Rejection> {
        for field in self.format.fields(text) {
            match field {
                SignatureField::Timestamp(time) => {
                    let is_first = claim.timestamp.is_none();
                    // A provider may repeat the time beside each of its signatures.
                    let is_repeated =
                        claim.has_signature_since && claim.timestamp.as_deref() == Some(time);
                    if !is_first && !is_repeated {
                        return Err(Rejection::Unreadable(format!("the time in {place}")));
                    }
                    claim.timestamp = Some(time.to_owned());
                    claim.has_signature_since = false;
                }
                SignatureField::Signature(text) => {
                    claim.has_signature_since = true;
                    // A signature that can't be decoded may stand beside one that can.
                    if claim.signatures.len() < MAX_SIGNATURES {
                        claim.signatures.extend(decode(text, self.encoding));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a signature. None if it can't be decoded, or is empty.
pub(super) fn decode(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => base64(text),
    }
    .filter(|bytes| !bytes.is_empty())
}

/// A timestamp is within the tolerance of `now` on either side.
pub(super) fn check_time(
    text: &str,
    format: TimestampFormat,
    tolerance: Duration,
    now: Timestamp,
) -> Result<(), Rejection> {
    let unreadable = || Rejection::Unreadable("the time".to_owned());
    let (earliest, latest) = parse_time(text, format).ok_or_else(unreadable)?;
    let age = now.since(latest);
    if age > tolerance {
        return Err(Rejection::TooOld { by: age, tolerance });
    }
    let ahead = earliest.since(now);
    let tolerance = tolerance.min(MAX_AHEAD);
    if ahead > tolerance {
        return Err(Rejection::TooEarly {
            by: ahead,
            tolerance,
        });
    }
    Ok(())
}

/// The earliest and the latest time that a timestamp means: one in seconds was truncated.
fn parse_time(text: &str, format: TimestampFormat) -> Option<(Timestamp, Timestamp)> {
    let number = || {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|_| is_number)
    };
    match format {
        TimestampFormat::Seconds => {
            let start = Timestamp::from_millis(number()?.saturating_mul(1000));
            Some((start, start.plus(Duration::from_millis(999))))
        }
        TimestampFormat::Milliseconds => {
            let time = Timestamp::from_millis(number()?);
            Some((time, time))
        }
        TimestampFormat::Rfc3339 if text.len() <= MAX_TIMESTAMP => {
            let time: jiff::Timestamp = text.parse().ok()?;
            let time = Timestamp::from_millis(time.as_millisecond());
            Some((time, time))
        }
        TimestampFormat::Rfc3339 => None,
    }
}

pub(super) fn header_name(text: &str) -> HeaderName {
    HeaderName::try_from(text).expect("a checked configuration's header names are valid")
}

/// The text of a header that the request has exactly once.
pub(super) fn text_header<'a>(
    request: &RequestView<'a>,
    name: &HeaderName,
) -> Result<&'a str, Rejection> {
    let mut values = request.headers.get_all(name).iter();
    let missing = || Rejection::NoHeader(name.to_string());
    let value = text(values.next().ok_or_else(missing)?, name)?;
    match values.next() {
        None => Ok(value),
        Some(_) => Err(Rejection::Unreadable(name.to_string())),
    }
}

fn text<'a>(value: &'a HeaderValue, name: &HeaderName) -> Result<&'a str, Rejection> {
    value
        .to_str()
        .map_err(|_| Rejection::Unreadable(name.to_string()))
}
