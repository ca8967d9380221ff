//! The escape of all texts in the templates. Payloads, answers and names come from strangers: they
//! are shown as text, and nothing in them is hidden.

use std::fmt;

use askama::filters::Escaper;

use crate::ops::visible::{code, is_hidden};

/// Escapes HTML, and shows hidden characters by their code. `askama.toml` names it for each
/// template, so that no page can do without.
#[derive(Clone, Copy)]
pub(in crate::http::admin::console) struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: fmt::Write>(&self, mut to: W, text: &str) -> fmt::Result {
        let mut done = 0;
        for (at, c) in text.char_indices() {
            let is_line = matches!(c, '\n' | '\t');
            let entity = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                _ if is_hidden(c) && !is_line => "",
                _ => continue,
            };
            to.write_str(&text[done..at])?;
            if entity.is_empty() {
                write!(to, "{}", code(c))?;
            } else {
                to.write_str(entity)?;
            }
            done = at + c.len_utf8();
        }
        to.write_str(&text[done..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_hidden_characters_are_shown() {
        let escaped = |text: &str| {
            let mut to = String::new();
            Visible.write_escaped_str(&mut to, text).expect("a String");
            to
        };
        assert_eq!(
            escaped("<script>alert('1' & \"2\")</script>"),
            "&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;"
        );
        assert_eq!(escaped("a\u{202e}b\0\n\tc"), "a\\u{202e}b\\u{0}\n\tc");
        assert_eq!(escaped("é\u{1f600}"), "é\u{1f600}");
    }
}
