//! `proxy` and the keys beside it, in `[delivery]` and in `[destinations.NAME]`.

#[cfg(test)]
mod tests;

use ::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _};

use crate::config::rules::{Checked, resolved};
use crate::config::secrets::{OneSecret, Secret};
use crate::model::{InvalidProxy, ProxyUrl};

/// A proxy's URL, or `""` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxySetting {
    /// No proxy.
    Direct,
    /// This proxy.
    Through(ProxyUrl),
}

impl ProxySetting {
    /// The proxy, if it is one.
    pub fn url(&self) -> Option<&ProxyUrl> {
        match self {
            Self::Direct => None,
            Self::Through(url) => Some(url),
        }
    }
}

impl<'de> Deserialize<'de> for ProxySetting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Self::Direct);
        }
        text.parse()
            .map(Self::Through)
            .map_err(|error| match error {
                // The text may hold a password.
                InvalidProxy::UserInfo => D::Error::custom(error),
                _ => D::Error::custom(format_args!("{text:?}: {error}")),
            })
    }
}

/// Checks the credentials of a section's proxy.
pub(super) fn check_authorization(
    key: &str,
    proxy: Option<&ProxySetting>,
    authorization: Option<&Secret>,
    (has_variable, has_file): (bool, bool),
) -> Checked {
    let own = format!("{key}.proxy_authorization");
    resolved(&own, has_variable, has_file)?;
    let Some(authorization) = authorization else {
        return Ok(());
    };
    if proxy.and_then(ProxySetting::url).is_none() {
        let problem = format!("expected {key}.proxy beside it: it is for that proxy only");
        return Err((own, problem));
    }
    if header_value(authorization).is_none() {
        let expected = "***: expected \"user:password\", or a scheme and its credentials such as \
                        \"Bearer …\", without control characters";
        return Err((own, expected.to_owned()));
    }
    Ok(())
}

/// The value of `Proxy-Authorization`. `user:password` is for the scheme Basic (RFC 7617); a scheme
/// with its credentials is sent as it is. None if the text is neither.
pub(in crate::config) fn header_value(authorization: &Secret) -> Option<Secret> {
    let text = authorization.reveal();
    let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
    // A scheme's name is a token, which has no colon.
    let has_scheme = scheme.is_some_and(|scheme| HeaderName::try_from(scheme).is_ok());
    let value = if has_scheme {
        text.to_owned()
    } else if text.contains(':') && !text.contains(char::is_control) {
        format!("Basic {}", STANDARD.encode(text))
    } else {
        return None;
    };
    HeaderValue::try_from(&value).ok()?;
    Some(Secret::new(value))
}

/// A section's `proxy_authorization`, with the references that may stand in its place.
pub(super) fn authorization<'a>(
    key: &str,
    secret: &'a mut Option<Secret>,
    variable: &'a mut Option<String>,
    file: &'a mut Option<std::path::PathBuf>,
) -> OneSecret<'a> {
    OneSecret {
        key: format!("{key}.proxy_authorization"),
        secret,
        variable,
        file,
    }
}
