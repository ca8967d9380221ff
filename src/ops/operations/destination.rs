use crate::config::Resolved;
use crate::model::TargetUrl;
use crate::ops::operations::invalid::Invalid;

/// Names that an error lists: more would hide the mistake.
const LISTED: usize = 20;

/// The name under which a destination is stored: one that the store knows, a configured one, or the
/// origin of a URL.
pub(crate) fn known(
    config: &Resolved,
    member: &'static str,
    text: &str,
    is_stored: bool,
) -> Result<String, Invalid> {
    if is_stored || config.destinations.contains_key(text) {
        return Ok(text.to_owned());
    }
    if text.contains("://") {
        let url: Result<TargetUrl, _> = text.parse();
        let url = url.map_err(|error| Invalid::unfit(member, format!("{text:?} {error}")))?;
        return Ok(url.origin().to_owned());
    }
    Err(Invalid::unfit(
        member,
        format!(
            "{text:?}: there is no such destination; expected {}, or an ad hoc origin such as \
             https://example.com",
            one_of(config).unwrap_or_else(|| "a configured one, of which there is none".to_owned())
        ),
    ))
}

/// The name of a destination that has a section in the configuration.
pub(crate) fn configured(
    config: &Resolved,
    member: &'static str,
    name: &str,
) -> Result<String, Invalid> {
    if config.destinations.contains_key(name) {
        return Ok(name.to_owned());
    }
    Err(Invalid::unfit(
        member,
        format!(
            "{name:?}: expected the name of a configured destination, {}; a URL is none",
            one_of(config).unwrap_or_else(|| "of which there is none".to_owned())
        ),
    ))
}

/// The configured names, as an error lists them; none if nothing is configured.
fn one_of(config: &Resolved) -> Option<String> {
    if config.destinations.is_empty() {
        return None;
    }
    let all = config.destinations.keys().map(String::as_str);
    let mut names: Vec<_> = all.clone().take(LISTED).collect();
    if all.count() > LISTED {
        names.push("…");
    }
    Some(format!("one of {}", names.join(", ")))
}
