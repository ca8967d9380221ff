//! `[sources.NAME.verify.token]`: a secret that comes with the request.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::secrets::{Reference, Secret, VariableNames};
use crate::config::sections::source::verify::common::{
    check_header_name, has_secrets, secret_list,
};
use crate::config::sections::source::verify::context::{SourceContext, check_template};
use crate::config::sections::source::verify::signed_request::is_constant;
use crate::model::request::{Part, Template};

/// The place of the secret.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TokenScheme {
    /// The header that holds the secret. It is not stored, and not sent on.
    pub header: Option<String>,
    /// The place of the secret, if it is in no header, such as `{query.token}`.
    pub value: Option<Template>,
    /// The text before the secret, such as `Bearer `. Default: none.
    pub prefix: String,
    /// The secrets; any of them verifies, so that they can be rotated.
    pub secrets: Vec<Secret>,
    /// Environment variables that hold one secret each.
    pub secrets_env: Option<VariableNames>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
}

has_secrets!(TokenScheme, some_secrets);

impl TokenScheme {
    pub(super) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        let (variables, file) = (&mut self.secrets_env, &mut self.secrets_file);
        vec![secret_list(key, &mut self.secrets, variables, file)]
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        self.checked_secrets(key, source)?;
        match (&self.header, &self.value) {
            (Some(name), None) => {
                check_header_name(&format!("{key}.header"), name)?;
                check_prefix(&format!("{key}.prefix"), &self.prefix)
            }
            (None, Some(value)) => Self::check_value(key, value, source),
            (None, None) => Err((
                format!("{key}.header"),
                "missing: expected the header of the token, or value".to_owned(),
            )),
            (Some(_), Some(_)) => Err((
                format!("{key}.value"),
                "contradicts header: expected one of them".to_owned(),
            )),
        }
    }

    /// The parts of a request that `value` is made of.
    pub(in crate::config) fn value_parts(&self) -> impl Iterator<Item = &Part> {
        self.value.iter().flat_map(Template::all_parts)
    }

    fn check_value(key: &str, value: &Template, source: &SourceContext<'_>) -> Checked {
        let key = format!("{key}.value");
        check_template(&key, value, false, source)?;
        // A path is the source's name, which is stored with its events: it can't be a secret.
        let is_of_request =
            |part: &Part| !part.is_optional() && !is_constant(part) && *part != Part::Path;
        if value.parts().iter().any(is_of_request) {
            return Ok(());
        }
        let expected = "a part of the request that may hold a secret, such as \"{query.token}\"";
        bad(&key, quoted(value.as_str()), expected)
    }
}

/// Refuses a prefix that no header begins with, or that would leave a blank before the secret.
fn check_prefix(key: &str, prefix: &str) -> Checked {
    let is_scheme = ["Bearer", "Token", "Basic"]
        .iter()
        .any(|scheme| prefix.eq_ignore_ascii_case(scheme));
    if is_scheme {
        let expected = format!(
            "{:?}: a blank stands before the secret",
            format!("{prefix} ")
        );
        return bad(key, quoted(prefix), &expected);
    }
    if prefix.starts_with(|c: char| c.is_ascii_whitespace()) {
        let expected = "a text that a header begins with: it has no blanks before it";
        return bad(key, quoted(prefix), expected);
    }
    Ok(())
}
