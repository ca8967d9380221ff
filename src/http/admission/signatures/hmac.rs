//! An HMAC of parts of the request. The request may hold several signatures, of which each secret
//! may have made one.

use std::borrow::Cow;

use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::config::{Algorithm, HmacScheme};
use crate::http::admission::signatures::contract::{Key, Rejection, Verified, Verifier};
use crate::http::admission::signatures::signed_request::SignedRequestReader;
use crate::model::request::RequestView;

/// Verifies one source's HMACs.
pub(super) struct HmacVerifier {
    keys: Vec<Key>,
    algorithm: Algorithm,
    reader: SignedRequestReader,
}

impl HmacVerifier {
    /// The verifier of a checked setting.
    pub fn new(scheme: &HmacScheme) -> Self {
        let keys = scheme.secrets.iter().map(|secret| {
            let key = scheme.secret_encoding.key(secret);
            Key::from(key.expect("a checked configuration's secrets can be decoded"))
        });
        Self {
            keys: keys.collect(),
            algorithm: scheme.algorithm,
            reader: SignedRequestReader::new(scheme.signed_request()),
        }
    }
}

impl Verifier for HmacVerifier {
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.reader.check_head(request, now)
    }

    fn verify(
        &self,
        request: &RequestView<'_>,
        now: Timestamp,
        learned: &[Key],
    ) -> Result<Verified, Rejection> {
        let claim = self.reader.read(request, now)?;
        let content = self.reader.content(request, &claim)?;
        let keys = self.keys.iter().chain(learned);
        let key = matching_key(self.algorithm, keys, &content, &claim.signatures);
        match key {
            Some(key) => Ok(Verified {
                key: Some(key),
                id: None,
            }),
            None => Err(Rejection::Mismatch),
        }
    }
}

/// The key that made one of the signatures. Every signature is compared with every key's, each in
/// constant time.
pub(super) fn matching_key<'k>(
    algorithm: Algorithm,
    keys: impl Iterator<Item = &'k Key>,
    content: &[Cow<'_, [u8]>],
    signatures: &[Vec<u8>],
) -> Option<Key> {
    let mut matching = None;
    for key in keys {
        let expected = algorithm.hmac(key, content);
        for signature in signatures {
            if bool::from(expected.ct_eq(signature)) {
                matching = Some(key);
            }
        }
    }
    matching.cloned()
}
