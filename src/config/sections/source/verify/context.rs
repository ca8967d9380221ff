//! A source's settings that its schemes depend on, and the checks that need them.

use std::collections::BTreeMap;

use crate::config::rules::{Checked, bad, bad_secret, not_a_reference};
use crate::config::secrets::Secret;
use crate::model::Level;
use crate::model::request::{Part, Template};

/// The settings of a source that its schemes depend on.
pub(in crate::config::sections) struct SourceContext<'a> {
    /// The source's key, such as `sources.github`.
    pub key: &'a str,
    /// The secrets at the source.
    pub secrets: &'a [Secret],
    /// The public keys at the source.
    pub public_keys: &'a [String],
    pub params: &'a BTreeMap<String, String>,
    /// Whether there is a public URL, the source's own or the server's.
    pub has_public_url: bool,
    pub accepts_any_content: bool,
    /// The highest level of this build: one below HTTP can't fetch certificates.
    pub compiled: Level,
    /// Whether a handshake gives the source secrets while it runs.
    pub learns_secrets: bool,
}

impl SourceContext<'_> {
    /// The secrets of a scheme, its own or the source's, with their key.
    pub fn secrets<'s>(
        &'s self,
        key: &str,
        own: &'s [Secret],
    ) -> Result<(String, &'s [Secret]), (String, String)> {
        self.one_place(key, "secrets", own, self.secrets)
    }

    /// The public keys of a scheme, its own or the source's, with their key.
    pub fn public_keys<'s>(
        &'s self,
        key: &str,
        own: &'s [String],
    ) -> Result<(String, &'s [String]), (String, String)> {
        self.one_place(key, "public_keys", own, self.public_keys)
    }

    /// Values of a scheme or of its source. They stand in one place, so that none is added to or
    /// replaced without notice.
    fn one_place<'s, T>(
        &self,
        key: &str,
        name: &str,
        own: &'s [T],
        shared: &'s [T],
    ) -> Result<(String, &'s [T]), (String, String)> {
        let own_key = format!("{key}.{name}");
        let shared_key = format!("{}.{name}", self.key);
        match (own.is_empty(), shared.is_empty()) {
            (false, false) => Err((
                own_key,
                format!("contradicts {shared_key}: expected them in one of the two places"),
            )),
            (true, false) => Ok((shared_key, shared)),
            _ => Ok((own_key, own)),
        }
    }

    /// The secrets of a scheme: at least one, and each can be one.
    pub fn some_secrets<'s>(
        &'s self,
        key: &str,
        own: &'s [Secret],
    ) -> Result<(String, &'s [Secret]), (String, String)> {
        let (key, secrets) = self.secrets(key, own)?;
        // A scheme without a secret would verify nothing, and look as if it did.
        if secrets.is_empty() {
            bad(&key, "[]", "at least one secret")?;
        }
        check_secret_texts(&key, secrets)?;
        Ok((key, secrets))
    }

    /// The secrets of an HMAC, which needs none if a handshake brings them.
    pub fn hmac_secrets<'s>(
        &'s self,
        key: &str,
        own: &'s [Secret],
    ) -> Result<(String, &'s [Secret]), (String, String)> {
        if self.learns_secrets && own.is_empty() && self.secrets.is_empty() {
            return self.secrets(key, own);
        }
        self.some_secrets(key, own)
    }
}

/// Refuses secrets that are blank, or that look like references.
pub(in crate::config::sections) fn check_secret_texts(key: &str, secrets: &[Secret]) -> Checked {
    for (at, secret) in secrets.iter().enumerate() {
        if secret.reveal().trim().is_empty() {
            return bad_secret(key, at, "a secret that isn't blank");
        }
        not_a_reference(key, at, secret)?;
    }
    Ok(())
}

/// Refuses a part of a template that can never have a value. `{timestamp}` has one only if
/// `has_timestamp`.
pub(in crate::config::sections) fn check_template(
    key: &str,
    template: &Template,
    has_timestamp: bool,
    source: &SourceContext<'_>,
) -> Checked {
    for part in template.all_parts() {
        let problem = match part {
            Part::Param(name) if !source.params.contains_key(name) => {
                let missing = format!("{}.params.{name}", source.key);
                return Err((missing, format!("missing: {key} needs it")));
            }
            Part::Url if !source.has_public_url => {
                format!("expected server.public_url or {}.public_url", source.key)
            }
            Part::Timestamp if !has_timestamp => "expected a part of the request".to_owned(),
            Part::FormField(_) | Part::FormSorted if !source.accepts_any_content => format!(
                "expected {}.accept_any_content = true, since a form is not JSON",
                source.key
            ),
            _ => continue,
        };
        return Err((
            key.to_owned(),
            format!("{:?}: {part}: {problem}", template.as_str()),
        ));
    }
    Ok(())
}
