//! The provider's headers that are stored with an event and sent to its destinations.

use std::cmp::Ordering;

use hyper::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName};

use crate::config::SourcePolicy;
use crate::model::request::is_forwarded;

/// The end-to-end headers, as `name: value\r\n` each, and after them `own` ones of relay's. A value
/// can't hold CR or LF.
pub(super) fn forwarded_headers(
    headers: &HeaderMap,
    source: &SourcePolicy,
    own: &[(&str, &str)],
) -> Vec<u8> {
    let options = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let connection_options = named_by(&names, options, compare);
    let mut kept = Vec::new();
    for (name, value) in headers {
        let is_dropped = !is_forwarded(name)
            || (*name == AUTHORIZATION && !source.forward_authorization)
            || connection_options.contains(&name.as_str())
            || source
                .secret_headers
                .iter()
                .any(|secret| name.as_str() == secret);
        if !is_dropped {
            push(&mut kept, name.as_str(), value.as_bytes());
        }
    }
    for (name, value) in own {
        push(&mut kept, name, value.as_bytes());
    }
    kept
}

fn push(kept: &mut Vec<u8>, name: &str, value: &[u8]) {
    kept.extend_from_slice(name.as_bytes());
    kept.extend_from_slice(b": ");
    kept.extend_from_slice(value);
    kept.extend_from_slice(b"\r\n");
}

/// The names that `Connection` lists. 32 KiB hold 16 000 options, so that each is looked up in the
/// sorted names, of which there are at most `server.max_headers`.
fn named_by<'a>(
    names: &[&'a str],
    options: impl Iterator<Item = &'a str>,
    mut compare: impl FnMut(&str, &str) -> Ordering,
) -> Vec<&'a str> {
    let mut is_named = vec![false; names.len()];
    for option in options {
        if let Ok(index) = names.binary_search_by(|name| compare(name, option)) {
            is_named[index] = true;
        }
    }
    let names = names.iter().zip(is_named);
    names
        .filter_map(|(name, is_named)| is_named.then_some(*name))
        .collect()
}

/// The order of two header names, of which the first is in lower case.
fn compare(name: &str, option: &str) -> Ordering {
    let option = option.bytes().map(|byte| byte.to_ascii_lowercase());
    name.bytes().cmp(option)
}

#[cfg(test)]
mod tests;
