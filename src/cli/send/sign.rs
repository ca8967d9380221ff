//! Signs a request as its sender would, with the first secret of its source.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderName};

use crate::cli::send::draft::Draft;
use crate::cli::send::key::new_key;
use crate::clock::Timestamp;
use crate::config::{
    Algorithm, BasicScheme, Encoding, HmacScheme, IdempotencyKeyAt, Secret, SourcePolicy,
    SourceVerify, StandardWebhooks, TimestampFormat, TokenScheme, Verify,
};
use crate::model::request::{Part, Template};

/// A public key verifies, and can't sign.
const PUBLIC_KEY: &str = "the source verifies with a public key: only its sender has the private \
                          key that signs";

/// Signs a request. A source without a scheme needs no signature.
pub(in crate::cli) fn sign(
    draft: &mut Draft,
    source: &SourcePolicy,
    now: Timestamp,
) -> Result<(), String> {
    match &source.verify {
        None => Ok(()),
        Some(SourceVerify::One(scheme)) => sign_by(draft, scheme, source, now),
        Some(SourceVerify::Any(schemes)) => {
            let view = draft.view(source.public_url.as_deref(), &source.params);
            let is_for = |when: &&(_, Verify)| can_sign(&when.1);
            let fitting = schemes.iter().filter(is_for);
            let mut fitting = fitting.filter(|(when, _)| when.match_request(&view));
            let scheme = fitting.next().or_else(|| schemes.iter().find(is_for));
            let (_, scheme) = scheme.ok_or(PUBLIC_KEY)?;
            sign_by(draft, scheme, source, now)
        }
    }
}

/// Whether the signature is made of the fields of a form.
pub(super) fn reads_form(source: &SourcePolicy) -> bool {
    let schemes = source.verify.iter().flat_map(SourceVerify::schemes);
    let templates = schemes.filter_map(|scheme| match scheme {
        Verify::Hmac(scheme) => Some(&scheme.signed),
        Verify::Token(scheme) => scheme.value.as_ref(),
        _ => None,
    });
    let mut parts = templates.flat_map(Template::all_parts);
    parts.any(|part| matches!(part, Part::FormField(_) | Part::FormSorted))
}

fn can_sign(scheme: &Verify) -> bool {
    !matches!(scheme, Verify::PublicKey(_))
}

fn sign_by(
    draft: &mut Draft,
    scheme: &Verify,
    source: &SourcePolicy,
    now: Timestamp,
) -> Result<(), String> {
    match scheme {
        Verify::Hmac(scheme) => sign_hmac(draft, scheme, source, now),
        Verify::StandardWebhooks(scheme) => sign_standard(draft, scheme, source, now),
        Verify::Token(scheme) => add_token(draft, scheme),
        Verify::Basic(scheme) => add_password(draft, scheme),
        Verify::PublicKey(_) => Err(PUBLIC_KEY.to_owned()),
    }
}

fn first(secrets: &[Secret]) -> Result<&Secret, String> {
    let missing = "the source has no secret to sign with: its sender gives it one by a handshake";
    secrets.first().ok_or_else(|| missing.to_owned())
}

fn header_name(text: &str) -> HeaderName {
    HeaderName::try_from(text).expect("a checked configuration's header names are valid")
}

fn sign_hmac(
    draft: &mut Draft,
    scheme: &HmacScheme,
    source: &SourcePolicy,
    now: Timestamp,
) -> Result<(), String> {
    let key = scheme.secret_encoding.key(first(&scheme.secrets)?);
    let key = key.expect("a checked configuration's secrets can be decoded");
    let timestamp = time_text(now, scheme.timestamp_format);
    if let Some(name) = &scheme.timestamp_header {
        draft.set_header(&header_name(name), &timestamp)?;
    } else if let Some(place) = &scheme.timestamp {
        draft.fill(place, &timestamp)?;
    }
    add_missing_ids(draft, &scheme.signed)?;
    let view = draft.view(source.public_url.as_deref(), &source.params);
    let content = scheme.signed.segments(&view, Some(&timestamp));
    let content = content.map_err(|missing| format!("the request has no {missing}"))?;
    let signature = encoded(&scheme.algorithm.hmac(&key, &content), scheme.encoding);
    let text = scheme.format.fill(&signature, &timestamp);
    match (&scheme.signature, scheme.header.0.first()) {
        (Some(place), _) => draft.fill(place, &text),
        (None, Some(name)) => draft.set_header(&header_name(name), &text),
        (None, None) => unreachable!("a checked configuration's signature has a place"),
    }
}

/// Headers and fields of the query that are signed are ids of the request.
fn add_missing_ids(draft: &mut Draft, signed: &Template) -> Result<(), String> {
    for part in signed.all_parts() {
        match part {
            Part::Header(name) if !draft.headers.contains_key(name) => {
                draft.set_header(name, &new_key())?;
            }
            Part::QueryField(name) if !draft.has_query_field(name) => {
                draft.add_query_field(name, &new_key());
            }
            _ => {}
        }
    }
    Ok(())
}

fn sign_standard(
    draft: &mut Draft,
    scheme: &StandardWebhooks,
    source: &SourcePolicy,
    now: Timestamp,
) -> Result<(), String> {
    if scheme.secrets.is_empty() && !scheme.public_keys.is_empty() {
        return Err(PUBLIC_KEY.to_owned());
    }
    let key = first(&scheme.secrets)?.signing_key();
    let key = key.expect("a checked configuration's secrets are whsec_…");
    let is_svix = |place: &IdempotencyKeyAt| match place {
        IdempotencyKeyAt::Header(name) => name.eq_ignore_ascii_case("svix-id"),
        _ => false,
    };
    let family = if source.idempotency.places().iter().any(is_svix) {
        "svix"
    } else {
        "webhook"
    };
    let header = |name: &str| header_name(&format!("{family}-{name}"));
    let id = draft.headers.get(header("id"));
    let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let id = id.unwrap_or_else(|| format!("msg_{}", new_key()));
    let timestamp = time_text(now, TimestampFormat::Seconds);
    let head = format!("{id}.{timestamp}.");
    let content = [head.as_bytes(), &draft.body];
    let signature = STANDARD.encode(Algorithm::Sha256.hmac(&key, &content));
    draft.set_header(&header("id"), &id)?;
    draft.set_header(&header("timestamp"), &timestamp)?;
    draft.set_header(&header("signature"), &format!("v1,{signature}"))
}

fn add_token(draft: &mut Draft, scheme: &TokenScheme) -> Result<(), String> {
    let secret = first(&scheme.secrets)?.reveal();
    draft.add_secret(secret);
    let text = format!("{}{secret}", scheme.prefix);
    match (&scheme.header, &scheme.value) {
        (Some(name), _) => draft.set_header(&header_name(name), &text),
        (None, Some(place)) => draft.fill(place, &text),
        (None, None) => unreachable!("a checked configuration's token has a place"),
    }
}

fn add_password(draft: &mut Draft, scheme: &BasicScheme) -> Result<(), String> {
    let credentials = format!("{}:{}", scheme.user, first(&scheme.secrets)?.reveal());
    let credentials = STANDARD.encode(credentials);
    draft.add_secret(&credentials);
    draft.set_header(&AUTHORIZATION, &format!("Basic {credentials}"))
}

fn time_text(now: Timestamp, format: TimestampFormat) -> String {
    let millis = now.as_millis();
    match format {
        TimestampFormat::Seconds => (millis / 1000).to_string(),
        TimestampFormat::Milliseconds => millis.to_string(),
        TimestampFormat::Rfc3339 => now.to_string(),
    }
}

fn encoded(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    }
}
