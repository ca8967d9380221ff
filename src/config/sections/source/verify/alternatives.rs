//! `[[sources.NAME.verify_any]]`: several schemes, of which one has to verify a request.

use serde::Deserialize;

use crate::config::rules::Checked;
use crate::config::secrets::Reference;
use crate::config::sections::source::conditions::check_conditions;
use crate::config::sections::source::verify::basic::BasicScheme;
use crate::config::sections::source::verify::context::SourceContext;
use crate::config::sections::source::verify::hmac::HmacScheme;
use crate::config::sections::source::verify::public_key::PublicKeyScheme;
use crate::config::sections::source::verify::scheme::Verify;
use crate::config::sections::source::verify::standard_webhooks::StandardWebhooks;
use crate::config::sections::source::verify::token::TokenScheme;
use crate::model::request::Conditions;

/// One scheme of several, and the requests that it is for.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Alternative {
    /// The requests that the scheme is for. Default: all.
    pub when: Conditions,
    /// The Standard Webhooks specification.
    pub standard_webhooks: Option<StandardWebhooks>,
    /// Any other HMAC.
    pub hmac: Option<HmacScheme>,
    /// A secret in the request.
    pub token: Option<TokenScheme>,
    /// A user and a password.
    pub basic: Option<BasicScheme>,
    /// A signature that a public key verifies.
    pub public_key: Option<PublicKeyScheme>,
}

impl Alternative {
    /// The scheme. None unless there is exactly one.
    pub fn scheme(&self) -> Option<Verify> {
        let schemes = [
            self.standard_webhooks.clone().map(Verify::StandardWebhooks),
            self.hmac.clone().map(Verify::Hmac),
            self.token.clone().map(Verify::Token),
            self.basic.clone().map(Verify::Basic),
            self.public_key.clone().map(Verify::PublicKey),
        ];
        let mut schemes = schemes.into_iter().flatten();
        let scheme = schemes.next()?;
        schemes.next().is_none().then_some(scheme)
    }

    pub(in crate::config::sections::source) fn references(
        &mut self,
        key: &str,
    ) -> Vec<Reference<'_>> {
        let mut references = Vec::new();
        if let Some(scheme) = &mut self.standard_webhooks {
            references.extend(scheme.references(&format!("{key}.standard_webhooks")));
        }
        if let Some(scheme) = &mut self.hmac {
            references.extend(scheme.references(&format!("{key}.hmac")));
        }
        if let Some(scheme) = &mut self.token {
            references.extend(scheme.references(&format!("{key}.token")));
        }
        if let Some(scheme) = &mut self.basic {
            references.extend(scheme.references(&format!("{key}.basic")));
        }
        if let Some(scheme) = &mut self.public_key {
            references.extend(scheme.references(&format!("{key}.public_key")));
        }
        references
    }

    pub(in crate::config::sections::source) fn check(
        &self,
        key: &str,
        source: &SourceContext<'_>,
    ) -> Checked {
        let Some(scheme) = self.scheme() else {
            let problem = format!("expected one of {}", Verify::NAMES);
            return Err((key.to_owned(), problem));
        };
        check_conditions(&format!("{key}.when"), &self.when, source)?;
        scheme.check(key, source)
    }
}
