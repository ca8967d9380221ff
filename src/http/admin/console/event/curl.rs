//! A command that sends an event by hand.

use crate::model::Surface;
use crate::ops::visible::is_hidden;
use crate::store::StoredIntent;

/// The longest body that stands in the command; a longer one is a file.
const INLINE_BYTES: usize = 8 * 1024;
/// Parts of names of headers whose values may be a credential, or a signature of one.
const SECRET: [&str; 8] = [
    "auth",
    "cookie",
    "signature",
    "secret",
    "token",
    "hmac",
    "api-key",
    "apikey",
];

/// The command. It has no credentials and no signature, which are not the reader's. `to` is the URL
/// up to its path, which may be a secret as well; a relay's URL is its own.
pub(super) fn command(row: &StoredIntent, to: &str) -> String {
    let url = match (row.surface, &row.url) {
        (Surface::Relay, Some(url)) => url.as_str(),
        _ => to,
    };
    let mut command = format!("curl -X POST {}", quoted(url));
    let id = row.surface.public_id(row.id);
    let mut line = |text: &str| {
        command.push_str(" \\\n  ");
        command.push_str(text);
    };
    for (name, value) in headers(&row.headers) {
        if !is_secret(&name) && !value.chars().any(is_hidden) {
            line(&format!("-H {}", quoted(&format!("{name}: {value}"))));
        }
    }
    let body = std::str::from_utf8(&row.payload).ok();
    let body = body.filter(|text| {
        let is_plain = |c| !is_hidden(c) || matches!(c, '\n' | '\t');
        text.len() <= INLINE_BYTES && text.chars().all(is_plain)
    });
    match body {
        Some(text) => line(&format!("--data-raw {}", quoted(text))),
        None => line(&format!("--data-binary @{id}.bin")),
    }
    command
}

/// The headers of an event as they are shown: a credential isn't, which may be the source's secret.
pub(super) fn shown_headers(block: &[u8]) -> Vec<(String, String)> {
    let headers = headers(block).into_iter();
    let shown = headers.map(|(name, value)| {
        if is_secret(&name) {
            (name, "not shown: it may be a credential".to_owned())
        } else {
            (name, value)
        }
    });
    shown.collect()
}

/// The headers of a block, `name: value\r\n` each.
fn headers(block: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// Whether a header's value may be a credential or a signature.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::model::IntentId;

    fn row(payload: &[u8], headers: &str) -> StoredIntent {
        StoredIntent {
            id: IntentId::new(1, 2),
            surface: Surface::Event,
            label: "github".to_owned(),
            url: None,
            created_at: Timestamp::from_millis(0),
            payload: payload.to_vec(),
            headers: headers.as_bytes().to_vec(),
            query: None,
            event_type: None,
            is_unrouted: false,
            gone: None,
            deliveries: Vec::new(),
        }
    }

    #[test]
    fn a_command_quotes_what_it_sends_and_has_no_credentials() {
        let headers = "content-type: application/json\r\nAuthorization: Bearer SECRET\r\n\
                       X-Hub-Signature-256: sha256=SECRET\r\nX-Gitlab-Token: SECRET\r\n\
                       Cookie: SECRET\r\nx-it: it's\r\n";
        let command = command(&row(b"{\"a\":\"it's\"}", headers), "https://a.example/…");
        assert_eq!(
            command,
            "curl -X POST 'https://a.example/…' \\\n  -H 'content-type: application/json' \\\n  \
             -H 'x-it: it'\\''s' \\\n  --data-raw '{\"a\":\"it'\\''s\"}'"
        );
    }

    #[test]
    fn a_header_that_may_be_a_credential_is_not_shown() {
        let shown = shown_headers(b"X-Gitlab-Token: SECRET\r\ncontent-type: a/b\r\n");
        assert!(!shown[0].1.contains("SECRET"));
        assert_eq!(shown[1].1, "a/b");
    }

    #[test]
    fn a_body_that_is_no_plain_text_is_a_file() {
        for payload in [&b"\xff"[..], b"a\0b", "\u{202e}".as_bytes(), &[b'a'; 9000]] {
            let command = command(&row(payload, ""), "https://a.example/…");
            let (_, file) = command.rsplit_once(' ').expect("the last word");
            assert!(file.starts_with("@evt_"), "{command}");
        }
    }
}
