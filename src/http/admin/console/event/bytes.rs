//! Bytes from strangers, as text or as a hex dump.

use std::fmt::Write as _;

/// Bytes of a text that are shown: the rest is in the file.
const TEXT_BYTES: usize = 64 * 1024;
/// Bytes of a hex dump, each of which takes some four characters.
const HEX_BYTES: usize = 16 * 1024;
/// Bytes in a line of a hex dump.
const A_LINE: usize = 16;

/// A view of some bytes.
pub(super) struct Shown {
    pub text: String,
    pub is_hex: bool,
    /// The bytes that are shown, if there are more.
    pub cut_to: Option<usize>,
    pub bytes: usize,
}

/// The bytes as text if they are UTF-8, and as a hex dump otherwise.
pub(super) fn show_text(bytes: &[u8]) -> Shown {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return show_hex(bytes);
    };
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Shown {
        text: text[..end].to_owned(),
        is_hex: false,
        cut_to: (end < bytes.len()).then_some(end),
        bytes: bytes.len(),
    }
}

/// The bytes as a hex dump.
pub(super) fn show_hex(bytes: &[u8]) -> Shown {
    let shown = &bytes[..bytes.len().min(HEX_BYTES)];
    Shown {
        text: dump(shown),
        is_hex: true,
        cut_to: (shown.len() < bytes.len()).then_some(shown.len()),
        bytes: bytes.len(),
    }
}

fn dump(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (at, line) in bytes.chunks(A_LINE).enumerate() {
        write!(text, "{:08x} ", at * A_LINE).expect("a String takes all");
        for place in 0..A_LINE {
            let gap = if place % 8 == 0 { " " } else { "" };
            match line.get(place) {
                Some(byte) => write!(text, "{gap}{byte:02x} "),
                None => write!(text, "{gap}   "),
            }
            .expect("a String takes all");
        }
        let is_shown = |b: u8| b.is_ascii_graphic() || b == b' ';
        let signs = line
            .iter()
            .map(|&b| if is_shown(b) { char::from(b) } else { '.' });
        text.push_str(" |");
        text.extend(signs);
        text.push_str("|\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf_8_is_shown_as_a_hex_dump() {
        let shown = show_text(b"{\"a\":\xff\x00} and more");
        assert!(shown.is_hex);
        assert_eq!(
            shown.text,
            "00000000  7b 22 61 22 3a ff 00 7d  20 61 6e 64 20 6d 6f 72  |{\"a\":..} and mor|\n\
             00000010  65                                                |e|\n"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let text = format!("a{}", "ü".repeat(TEXT_BYTES));
        let shown = show_text(text.as_bytes());
        assert_eq!(shown.cut_to, Some(TEXT_BYTES - 1));
        assert_eq!(shown.text.len(), TEXT_BYTES - 1);
        assert_eq!(show_text(b"short").cut_to, None);
        assert_eq!(show_hex(&vec![0; 8 << 20]).cut_to, Some(HEX_BYTES));
    }
}
