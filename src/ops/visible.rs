//! Texts from outside, so that a person sees all of them: characters that are invisible, or that
//! reorder or overwrite others, are shown by their code.

use std::fmt::Write as _;

/// Whether a character would be invisible, or would change how others are shown: control
/// characters, and those that Unicode says to ignore or to lay out by.
pub(crate) const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' // soft hyphen
        | '\u{61c}' | '\u{200e}' | '\u{200f}' // bidi
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' // bidi
        | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}' // no width
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // blank letters
        | '\u{2028}' | '\u{2029}' // line and paragraph
        | '\u{fff9}'..='\u{fffb}' // annotations
        | '\u{e0000}'..='\u{e0fff}' // tags
    )
}

/// The character itself, or the sign for one that can't be shown: for a text of bounded length,
/// whose characters keep their number.
pub(crate) const fn replaced(c: char) -> char {
    if is_hidden(c) { '\u{fffd}' } else { c }
}

/// The code of a hidden character, such as `\u{202e}`.
pub(crate) fn code(c: char) -> impl std::fmt::Display {
    c.escape_unicode()
}

/// A text in one line, with the codes of its hidden characters.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            write!(shown, "{}", code(c)).expect("a String takes all");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A JSON document in one line, with the hidden characters in its strings written as JSON escapes,
/// which changes no value.
pub(crate) fn plain_json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("a String takes all");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_json_document_keeps_its_value_and_hides_nothing(
            text in "\\PC*|[\u{0}-\u{20}\u{2028}-\u{202e}\u{e0041}a]*"
        ) {
            let document = serde_json::json!({ "text": text }).to_string();
            let shown = plain_json(&document);
            prop_assert!(!shown.contains(is_hidden));
            let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
        }
    }

    #[test]
    fn hidden_characters_are_shown_by_their_code() {
        for (text, shown) in [
            ("a b\u{e9}\u{1f600}", "a b\u{e9}\u{1f600}"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{1b}[2J\r\n\t", "\\u{1b}[2J\\u{d}\\u{a}\\u{9}"),
            ("x\u{200b}\u{feff}\u{2066}", "x\\u{200b}\\u{feff}\\u{2066}"),
            ("\u{e0041}\u{85}", "\\u{e0041}\\u{85}"),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
        }
    }
}
