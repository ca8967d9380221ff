//! Shared by the schemes. Settings that several schemes have are read and checked by macros: with
//! serde's `flatten` an error would no longer name the line of the file.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::rules::{Checked, bad, is_header_name, quoted, shown};
use crate::config::secrets::{Reference, Secret, SecretList, VariableNames};

/// The default tolerance: that of the Standard Webhooks specification's reference libraries.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The longest tolerance. Some providers repeat a request for three days under its first time.
const MAX_TOLERANCE: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn check_tolerance(key: &str, tolerance: Duration) -> Checked {
    if tolerance.is_zero() || tolerance > MAX_TOLERANCE {
        return bad(&format!("{key}.tolerance"), shown(tolerance), "1ms to 7d");
    }
    Ok(())
}

pub(super) fn check_header_name(key: &str, name: &str) -> Checked {
    if is_header_name(name) {
        Ok(())
    } else {
        bad(key, quoted(name), "the name of an HTTP header")
    }
}

/// The secrets of a scheme at this key, with its references to more, to be resolved.
pub(super) fn secret_list<'a>(
    key: &str,
    secrets: &'a mut Vec<Secret>,
    variables: &'a mut Option<VariableNames>,
    file: &'a mut Option<PathBuf>,
) -> Reference<'a> {
    Reference::Secrets(SecretList {
        key: format!("{key}.secrets"),
        secrets,
        variables,
        file,
    })
}

/// A scheme with `secrets`, `secrets_env` and `secrets_file`. `$secrets` is the method of
/// [`SourceContext`](super::context::SourceContext) that says which secrets it needs.
macro_rules! has_secrets {
    ($scheme:ident, $secrets:ident) => {
        impl $scheme {
            /// The secrets, the scheme's own or the source's, with their key. No reference is left.
            fn checked_secrets<'s>(
                &'s self,
                key: &str,
                source: &'s SourceContext<'_>,
            ) -> Result<(String, &'s [Secret]), (String, String)> {
                let own_key = format!("{key}.secrets");
                let (has_variables, has_file) =
                    (self.secrets_env.is_some(), self.secrets_file.is_some());
                $crate::config::rules::resolved(&own_key, has_variables, has_file)?;
                source.$secrets(key, &self.secrets)
            }
        }
    };
}
pub(super) use has_secrets;

/// A scheme whose signature has a configured place.
macro_rules! has_signed_request {
    ($scheme:ident) => {
        impl $scheme {
            /// The settings of the signature, its time and the content that is signed.
            pub fn signed_request(&self) -> SignedRequest {
                SignedRequest {
                    headers: self.header.0.clone(),
                    signature: self.signature.clone(),
                    format: self.format.clone(),
                    encoding: self.encoding,
                    timestamp_header: self.timestamp_header.clone(),
                    timestamp: self.timestamp.clone(),
                    timestamp_format: self.timestamp_format,
                    signed: self.signed.clone(),
                    tolerance: self.tolerance,
                }
            }
        }
    };
}
pub(super) use has_signed_request;
