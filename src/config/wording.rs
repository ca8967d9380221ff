//! The messages of the TOML parser, in the words of the documentation and without secrets.

use std::borrow::Cow;

use crate::config::sections::Verify;

/// A key and its problem, given those of the parser.
pub(super) fn problem_of(key: String, message: &str) -> (String, String) {
    let message = one_line(message);
    let expected = message
        .rsplit_once(", expected ")
        .map(|(_, expected)| expected);
    let is_type = message.starts_with("invalid type: ");
    // The parser's message would quote the value.
    if is_secret(&key) && !message.starts_with("unknown field ") {
        let expected = match expected.filter(|_| is_type) {
            Some("a sequence") => Cow::Borrowed("a list of texts"),
            Some(expected) => in_words(expected),
            None => Cow::Borrowed("what the example configuration shows"),
        };
        return (key, format!("***: expected {expected}"));
    }
    if is_no_choice(&message) {
        // The parser adds the name of a choice that lacks its table.
        let key = match key.rsplit_once('.') {
            Some((parent, _)) if message.contains("newtype variant") => parent.to_owned(),
            _ => key,
        };
        let problem = format!("expected {}", choices_at(&key));
        return (key, problem);
    }
    let Some((value, expected)) = message.rsplit_once("expected ") else {
        return (key, message);
    };
    // A text in the place of a scheme's table may well be its secret.
    let is_masked = key.contains(".verify") && message.starts_with("invalid type: string ");
    let value = if is_masked { "***: " } else { value };
    let problem = format!("{value}expected {}", in_words(expected));
    (key, problem)
}

/// The expectation at a key that wants one of several tables or names.
fn choices_at(key: &str) -> Cow<'static, str> {
    if key.ends_with(".event_type") {
        Cow::Borrowed("a table with one of header and json_pointer")
    } else if key.ends_with(".verify") {
        let names = Verify::NAMES;
        Cow::Owned(format!(
            "a table of one of {names}; several schemes stand in verify_any"
        ))
    } else {
        Cow::Borrowed("one name, in quotes")
    }
}

/// Whether the parser says, in terms of its own, that a value isn't one of several choices.
fn is_no_choice(message: &str) -> bool {
    message.contains("exactly 1 element")
        || message.contains("newtype variant")
        || message == "wanted string or table"
}

/// The parser's name of a type, in words.
fn in_words(expected: &str) -> Cow<'_, str> {
    Cow::Borrowed(match expected {
        "a sequence" => "a list",
        "a map" => "a table",
        "enum" => "a table with one key",
        "a string" => "a text",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "f64" => "a number",
        _ => match expected.strip_prefix("struct ") {
            // The names that relay's own code has for tables say nothing to others.
            Some(rest) => {
                let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                return Cow::Owned(format!("a table{}", &rest[name.unwrap_or(rest.len())..]));
            }
            None => expected,
        },
    })
}

/// Whether a key's value may be a secret, so that no error quotes it.
fn is_secret(key: &str) -> bool {
    let is_reference = key.ends_with("_env") || key.ends_with("_file");
    // The headers of a source are those that it looks for.
    let is_header = key.starts_with("destinations.") && key.contains(".headers");
    let is_secret = [".secrets", ".hub_tokens", ".proxy_authorization"]
        .iter()
        .any(|part| key.contains(part));
    !is_reference
        && (key.starts_with("api.keys")
            || key.starts_with("alerts.heartbeat.url")
            || key == "database.url"
            || is_secret
            || is_header)
}

pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
