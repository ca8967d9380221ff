//! The settings that a provider needs of the operator.

use crate::config::providers::files::ProviderFile;
use crate::config::rules::Checked;
use crate::config::sections::Source;

/// Refuses a source that lacks a setting of its provider, and names it. `server_url` is the public
/// URL of the server.
pub(in crate::config) fn check_needs(
    key: &str,
    source: &Source,
    server_url: Option<&str>,
) -> Checked {
    let Some(provider) = &source.provider else {
        return Ok(());
    };
    let Some(file) = ProviderFile::find(provider) else {
        return Ok(());
    };
    // Another scheme has needs of its own.
    let is_own = file.scheme_names() == source.scheme_names();
    for need in file.describe().needs.iter().filter(|_| is_own) {
        let is_there = match need.name.as_str() {
            "secrets_env" => source.has_secrets(),
            "public_keys" => source.has_public_keys(),
            "secrets_env or public_keys" => source.has_secrets() || source.has_public_keys(),
            "hub_tokens_env" => !source.hub_tokens.is_empty(),
            "server.public_url" => source.public_url.is_some() || server_url.is_some(),
            name => name
                .strip_prefix("params.")
                .is_none_or(|name| source.params.contains_key(name)),
        };
        if !is_there {
            let name = need.name.split(' ').next().unwrap_or_default();
            let name = name.strip_prefix("server.").unwrap_or(name);
            let problem = format!(
                "missing: provider = {provider:?} needs {}: {}",
                need.name, need.about
            );
            return Err((format!("{key}.{name}"), problem));
        }
    }
    Ok(())
}
