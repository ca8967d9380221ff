//! The tokens of the operator's listener.

use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::caller::{Caller, Proof, Role};
use super::sessions::TokenDigest;
use crate::config::{Admin, NamedSecret};
use crate::http::api_error::ApiError;

/// The caller's name without any token configured. Only loopback may then be listened at.
const NO_TOKEN: &str = "loopback";

/// The configured tokens. Without any, everybody who reaches the listener may operate.
pub(in crate::http) struct Tokens(Vec<Token>);

struct Token {
    name: String,
    digest: TokenDigest,
    role: Role,
}

impl Tokens {
    pub fn new(settings: &Admin) -> Self {
        let token = |of: &NamedSecret, role| Token {
            name: of.name.clone(),
            digest: digest(of.secret.reveal().as_bytes()),
            role,
        };
        let operate = settings.tokens.iter();
        let operate = operate.map(|of| token(of, Role::Operate));
        let read = settings.read_tokens.iter().map(|of| token(of, Role::Read));
        Self(operate.chain(read).collect())
    }

    /// Whether no token is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The caller whose token the request carries.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if self.0.is_empty() {
            return Ok(Caller {
                name: NO_TOKEN.to_owned(),
                role: Role::Operate,
                proof: Proof::NoneNeeded,
                token: None,
            });
        }
        let given = bearer(headers).ok_or_else(ApiError::no_token)?;
        let found = self.of_digest(&digest(given), Proof::Bearer);
        found.ok_or_else(ApiError::no_token)
    }

    /// The caller whose token has this digest. All tokens are compared, each in constant time, so
    /// that the time of a response tells nothing about how close a guess was.
    pub fn of_digest(&self, given: &TokenDigest, proof: Proof) -> Option<Caller> {
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.digest.ct_eq(given)) {
                found = Some(token);
            }
        }
        found.map(|token| Caller {
            name: token.name.clone(),
            role: token.role,
            proof,
            token: Some(token.digest),
        })
    }

    /// Whether the holder of a token is let in still, or somebody without one.
    pub fn lets_in(&self, token: Option<&TokenDigest>) -> bool {
        self.0.is_empty()
            || token.is_some_and(|token| self.of_digest(token, Proof::Bearer).is_some())
    }
}

/// The digest by which a token is compared.
pub(super) fn digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}

/// The token of `Authorization: Bearer` (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn named(name: &str, secret: &str) -> NamedSecret {
        NamedSecret {
            name: name.to_owned(),
            secret: Secret::new(secret),
        }
    }

    fn role(tokens: &Tokens, authorization: &[&str]) -> Option<(String, Role)> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, value.parse().expect("a value"));
        }
        let caller = tokens.authenticate(&headers).ok()?;
        Some((caller.name, caller.role))
    }

    #[test]
    fn a_token_has_the_role_of_its_list_and_the_name_of_its_variable() {
        let settings = Admin {
            tokens: vec![named("OPS", "operate-operate-1")],
            read_tokens: vec![named("GRAFANA", "read-read-read-12")],
            ..Admin::default()
        };
        let tokens = Tokens::new(&settings);
        let ops = Some(("OPS".to_owned(), Role::Operate));
        assert_eq!(role(&tokens, &["Bearer operate-operate-1"]), ops);
        assert_eq!(role(&tokens, &["bearer operate-operate-1"]), ops);
        let grafana = Some(("GRAFANA".to_owned(), Role::Read));
        assert_eq!(role(&tokens, &["Bearer read-read-read-12"]), grafana);
        for wrong in [
            &[][..],
            &["Bearer operate-operate-2"],
            &["Bearer "],
            &["Bearer"],
            &["Basic operate-operate-1"],
            &["operate-operate-1"],
            &["Bearer  operate-operate-1"],
            &["Bearer operate-operate-1", "Bearer operate-operate-1"],
        ] {
            assert_eq!(role(&tokens, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn without_tokens_everybody_who_reaches_the_listener_operates() {
        let tokens = Tokens::new(&Admin::default());
        assert_eq!(
            role(&tokens, &[]),
            Some(("loopback".to_owned(), Role::Operate))
        );
    }
}
