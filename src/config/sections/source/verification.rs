//! The settings of a source that belong to verification: its schemes with the secrets, parameters
//! and conditions that they share.

use crate::config::rules::{Checked, bad, check_public_url, quoted, resolved};
use crate::config::secrets::{PublicKeyList, Reference, SecretList};
use crate::config::sections::source::body_and_query::ForwardQuery;
use crate::config::sections::source::conditions::check_conditions;
use crate::config::sections::source::event_type::EventTypeAt;
use crate::config::sections::source::handshake_checks;
use crate::config::sections::source::handshakes::{Handshake, HandshakeName};
use crate::config::sections::source::section::Source;
use crate::config::sections::source::verify::context::{SourceContext, check_secret_texts};
use crate::config::sections::source::verify::{Alternative, TokenScheme, Verify};
use crate::model::Level;
use crate::model::request::{Conditions, Part};

/// The most schemes of `verify_any`: each costs time for a request that none of them verifies.
const MAX_ALTERNATIVES: usize = 4;

/// The schemes of a source, with their secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceVerify {
    /// The only scheme.
    One(Box<Verify>),
    /// Schemes in the order in which they are tried, each with the requests that it is for.
    Any(Vec<(Conditions, Verify)>),
}

impl SourceVerify {
    /// The schemes in order.
    pub fn schemes(&self) -> Vec<&Verify> {
        match self {
            Self::One(scheme) => vec![scheme],
            Self::Any(schemes) => schemes.iter().map(|(_, scheme)| scheme).collect(),
        }
    }
}

impl Source {
    /// The references of the source and of its schemes, to be resolved.
    pub(in crate::config) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        let mut references = vec![
            Reference::Secrets(SecretList {
                key: format!("{key}.secrets"),
                secrets: &mut self.secrets,
                variables: &mut self.secrets_env,
                file: &mut self.secrets_file,
            }),
            Reference::PublicKeys(PublicKeyList {
                key: format!("{key}.public_keys"),
                public_keys: &mut self.public_keys,
                file: &mut self.public_keys_file,
            }),
        ];
        references.push(Reference::Secrets(SecretList {
            key: format!("{key}.hub_tokens"),
            secrets: &mut self.hub_tokens,
            variables: &mut self.hub_tokens_env,
            file: &mut self.hub_tokens_file,
        }));
        if let Some(verify) = &mut self.verify {
            references.extend(verify.references(&format!("{key}.verify")));
        }
        for (at, alternative) in self.verify_any.iter_mut().enumerate() {
            references.extend(alternative.references(&format!("{key}.verify_any[{at}]")));
        }
        references
    }

    pub(super) fn check_verification(
        &self,
        key: &str,
        server_url: Option<&str>,
        compiled: Level,
    ) -> Checked {
        resolved(
            &format!("{key}.secrets"),
            self.secrets_env.is_some(),
            self.secrets_file.is_some(),
        )?;
        resolved(
            &format!("{key}.hub_tokens"),
            self.hub_tokens_env.is_some(),
            self.hub_tokens_file.is_some(),
        )?;
        resolved(
            &format!("{key}.public_keys"),
            false,
            self.public_keys_file.is_some(),
        )?;
        if let Some(url) = &self.public_url {
            check_public_url(&format!("{key}.public_url"), url)?;
        }
        let context = SourceContext {
            key,
            secrets: &self.secrets,
            public_keys: &self.public_keys,
            params: &self.params,
            has_public_url: self.public_url.is_some() || server_url.is_some(),
            accepts_any_content: self.accept_any_content,
            compiled,
            learns_secrets: self.learns_secrets(),
        };
        check_conditions(&format!("{key}.require"), &self.require, &context)?;
        self.check_schemes(key, &context)?;
        check_secret_texts(&format!("{key}.hub_tokens"), &self.hub_tokens)?;
        handshake_checks::check(key, self, &context)?;
        self.check_secret_is_not_kept(key)?;
        self.check_forwarding(key)
    }

    fn check_schemes(&self, key: &str, context: &SourceContext<'_>) -> Checked {
        let any = format!("{key}.verify_any");
        if self.verify.is_some() && !self.verify_any.is_empty() {
            return Err((any, "contradicts verify: expected one of them".to_owned()));
        }
        if self.verify_any.len() > MAX_ALTERNATIVES {
            let problem = format!("expected at most {MAX_ALTERNATIVES} schemes");
            return Err((any, problem));
        }
        for (at, alternative) in self.verify_any.iter().enumerate() {
            alternative.check(&format!("{any}[{at}]"), context)?;
        }
        if let Some(verify) = &self.verify {
            return verify.check(&format!("{key}.verify"), context);
        }
        // The operator would believe that requests are verified.
        let unused = [
            ("secrets", self.secrets.is_empty()),
            ("public_keys", self.public_keys.is_empty()),
        ];
        match unused.into_iter().find(|(_, is_empty)| !is_empty) {
            Some((name, _)) if self.verify_any.is_empty() => Err((
                format!("{key}.{name}"),
                format!("nothing is verified with it: expected {key}.verify, too"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether a handshake brings the source secrets.
    pub(crate) fn learns_secrets(&self) -> bool {
        self.handshakes
            .contains(&Handshake::Named(HandshakeName::Asana))
    }

    /// Refuses a key or an event type that stands in the place of a secret: both are stored.
    fn check_secret_is_not_kept(&self, key: &str) -> Checked {
        let (headers, fields) = (self.secret_headers(), self.secret_query_fields());
        let is_secret_header = |name: &&str| headers.contains(&name.to_ascii_lowercase());
        let is_secret_query = self.is_secret_query();
        let is_secret_field =
            |name: &&str| is_secret_query || fields.iter().any(|field| field == name);
        let expected = "another place: verify's secret is there";
        let keys = format!("{key}.idempotency");
        if let Some(name) = self
            .idempotency
            .headers()
            .into_iter()
            .find(is_secret_header)
        {
            return bad(&keys, quoted(name), expected);
        }
        if let Some(name) = self
            .idempotency
            .query_fields()
            .into_iter()
            .find(is_secret_field)
        {
            return bad(&keys, quoted(name), expected);
        }
        match &self.event_type {
            Some(EventTypeAt::Header(name)) if is_secret_header(&name.as_str()) => {
                bad(&format!("{key}.event_type"), quoted(name), expected)
            }
            _ => Ok(()),
        }
    }

    /// Refuses to forward a header that holds a secret of this hop.
    fn check_forwarding(&self, key: &str) -> Checked {
        let is_secret = self
            .secret_headers()
            .iter()
            .any(|name| name == "authorization");
        if self.forward_authorization && is_secret {
            return Err((
                format!("{key}.forward_authorization"),
                "contradicts verify, whose secret is in that header: it is not sent on".to_owned(),
            ));
        }
        Ok(())
    }

    /// The schemes with their secrets. None if requests are not verified.
    pub(in crate::config) fn resolve_verify(&self) -> Option<SourceVerify> {
        let resolve = |scheme: Verify| scheme.with_shared(&self.secrets, &self.public_keys);
        if let Some(verify) = &self.verify {
            return Some(SourceVerify::One(Box::new(resolve(verify.clone()))));
        }
        let schemes = self.verify_any.iter().filter_map(|alternative| {
            let scheme = alternative.scheme()?;
            Some((alternative.when.clone(), resolve(scheme)))
        });
        let schemes: Vec<_> = schemes.collect();
        (!schemes.is_empty()).then_some(SourceVerify::Any(schemes))
    }

    fn schemes(&self) -> Vec<Verify> {
        let placed = self.placed_schemes().into_iter();
        placed.map(|(_, scheme)| scheme).collect()
    }

    /// The schemes, each with its place below the source's key.
    pub(in crate::config) fn placed_schemes(&self) -> Vec<(String, Verify)> {
        let single = self
            .verify
            .iter()
            .cloned()
            .map(|scheme| ("verify".to_owned(), scheme));
        let alternatives = self.verify_any.iter().map(Alternative::scheme).enumerate();
        let alternatives =
            alternatives.filter_map(|(at, scheme)| Some((format!("verify_any[{at}]"), scheme?)));
        let schemes = single.chain(alternatives);
        schemes
            .map(|(place, scheme)| (format!("{place}.{}", scheme.name()), scheme))
            .collect()
    }

    /// The names of the schemes.
    pub(in crate::config) fn scheme_names(&self) -> Vec<&'static str> {
        self.schemes().iter().map(Verify::name).collect()
    }

    /// Whether there is a secret, the source's or a scheme's.
    pub(crate) fn has_secrets(&self) -> bool {
        let schemes = self.schemes();
        !self.secrets.is_empty() || schemes.iter().any(|scheme| !scheme.secrets().is_empty())
    }

    /// Whether there is a public key, the source's or a scheme's.
    pub(in crate::config) fn has_public_keys(&self) -> bool {
        let has_own = |scheme: &Verify| match scheme {
            Verify::PublicKey(scheme) => !scheme.public_keys.is_empty(),
            Verify::StandardWebhooks(scheme) => !scheme.public_keys.is_empty(),
            Verify::Hmac(_) | Verify::Token(_) | Verify::Basic(_) => false,
        };
        !self.public_keys.is_empty() || self.schemes().iter().any(has_own)
    }

    /// The headers that hold a secret of this hop, in lower case.
    pub(in crate::config) fn secret_headers(&self) -> Vec<String> {
        let mut names = Vec::new();
        if self.learns_secrets() {
            names.push("x-hook-secret".to_owned());
        }
        for scheme in self.schemes() {
            match &scheme {
                Verify::Basic(_) => names.push("authorization".to_owned()),
                Verify::Token(token) => {
                    names.extend(token.header.as_ref().map(|name| name.to_ascii_lowercase()));
                    names.extend(token.value_parts().filter_map(|part| match part {
                        Part::Header(name) => Some(name.to_string()),
                        _ => None,
                    }));
                }
                Verify::Hmac(_) | Verify::PublicKey(_) | Verify::StandardWebhooks(_) => {}
            }
        }
        names
    }

    /// The fields of the query that hold a secret of this hop.
    pub(in crate::config) fn secret_query_fields(&self) -> Vec<String> {
        let parts = self.token_parts().into_iter();
        let names = parts.filter_map(|part| match part {
            Part::QueryField(name) => Some(name),
            _ => None,
        });
        names.collect()
    }

    /// The way of the query to the destinations. A query that is a secret as a whole ends here.
    pub(in crate::config) fn kept_query(&self) -> ForwardQuery {
        if self.is_secret_query() {
            return ForwardQuery::Drop;
        }
        self.forward_query
    }

    /// Whether a secret of this hop may be anywhere in the query.
    fn is_secret_query(&self) -> bool {
        let parts = self.token_parts();
        parts.contains(&Part::Query) || parts.contains(&Part::Url)
    }

    /// The parts of a request that tokens are made of.
    fn token_parts(&self) -> Vec<Part> {
        let schemes = self.schemes();
        let tokens = schemes.iter().filter_map(|scheme| match scheme {
            Verify::Token(token) => Some(token),
            Verify::Basic(_)
            | Verify::Hmac(_)
            | Verify::PublicKey(_)
            | Verify::StandardWebhooks(_) => None,
        });
        tokens.flat_map(TokenScheme::value_parts).cloned().collect()
    }
}
