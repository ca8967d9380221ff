//! Secrets that come with the request: in a header, elsewhere in the request, or as the password of
//! a user.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use hyper::header::{AUTHORIZATION, HeaderName};

use crate::clock::Timestamp;
use crate::config::{BasicScheme, Secret, TokenScheme};
use crate::http::admission::signatures::contract::{Key, Rejection, Verified, Verifier};
use crate::http::admission::signatures::signed_request::{header_name, text_header};
use crate::model::base64;
use crate::model::request::{RequestView, Template};

/// The texts that verify, as digests: comparing these tells nothing about a text's length either.
struct Accepted(Vec<[u8; 32]>);

impl Accepted {
    fn new(texts: impl Iterator<Item = String>) -> Self {
        Self(texts.map(|text| Sha256::digest(text).into()).collect())
    }

    /// Compares a text with all, each in constant time.
    fn check(&self, text: &[u8]) -> Result<Verified, Rejection> {
        let given: [u8; 32] = Sha256::digest(text).into();
        let mut is_accepted = false;
        for digest in &self.0 {
            is_accepted |= bool::from(digest.ct_eq(&given));
        }
        if is_accepted {
            Ok(Verified::default())
        } else {
            Err(Rejection::Mismatch)
        }
    }
}

/// Verifies a secret that stands in the request.
pub(super) struct TokenVerifier {
    place: Place,
    prefix: String,
    accepted: Accepted,
}

enum Place {
    Header(HeaderName),
    Template(Template),
}

impl TokenVerifier {
    /// The verifier of a checked setting.
    pub fn new(scheme: &TokenScheme) -> Self {
        let place = match (&scheme.header, &scheme.value) {
            (Some(name), _) => Place::Header(header_name(name)),
            (None, Some(value)) => Place::Template(value.clone()),
            (None, None) => unreachable!("a checked configuration's token has a place"),
        };
        let secrets = scheme.secrets.iter().map(Secret::reveal).map(str::to_owned);
        Self {
            place,
            prefix: scheme.prefix.clone(),
            accepted: Accepted::new(secrets),
        }
    }

    /// The text without the prefix. The name of an authentication scheme, which ends with a blank,
    /// may be written in any case (RFC 9110, 11.1).
    fn without_prefix<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (start, rest) = text.split_at_checked(self.prefix.len())?;
        let prefix = self.prefix.as_bytes();
        let is_prefix = if prefix.ends_with(b" ") {
            start.eq_ignore_ascii_case(prefix)
        } else {
            start == prefix
        };
        is_prefix.then_some(rest)
    }

    fn check(&self, text: &[u8], place: &str) -> Result<Verified, Rejection> {
        let unreadable = || Rejection::Unreadable(place.to_owned());
        self.accepted
            .check(self.without_prefix(text).ok_or_else(unreadable)?)
    }
}

impl Verifier for TokenVerifier {
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        match &self.place {
            Place::Template(template) if template.needs_body() => Ok(()),
            _ => self.verify(request, now, &[]).map(|_| ()),
        }
    }

    fn verify(
        &self,
        request: &RequestView<'_>,
        _now: Timestamp,
        _learned: &[Key],
    ) -> Result<Verified, Rejection> {
        match &self.place {
            Place::Header(name) => {
                let text = text_header(request, name)?;
                self.check(text.as_bytes(), name.as_str())
            }
            Place::Template(template) => {
                self.check(&template.evaluate(request)?, template.as_str())
            }
        }
    }
}

/// Verifies a user's password (RFC 7617).
pub(super) struct BasicVerifier {
    accepted: Accepted,
}

impl BasicVerifier {
    /// The verifier of a checked setting.
    pub fn new(scheme: &BasicScheme) -> Self {
        let secrets = scheme.secrets.iter();
        let texts = secrets.map(|secret| format!("{}:{}", scheme.user, secret.reveal()));
        Self {
            accepted: Accepted::new(texts),
        }
    }
}

impl Verifier for BasicVerifier {
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.verify(request, now, &[]).map(|_| ())
    }

    fn verify(
        &self,
        request: &RequestView<'_>,
        _now: Timestamp,
        _learned: &[Key],
    ) -> Result<Verified, Rejection> {
        let text = text_header(request, &AUTHORIZATION)?;
        let credentials = text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Basic"))
            .and_then(|(_, encoded)| base64(encoded.trim()));
        let unreadable = || Rejection::Unreadable(AUTHORIZATION.to_string());
        self.accepted.check(&credentials.ok_or_else(unreadable)?)
    }
}
