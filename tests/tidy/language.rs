//! Sentences begin with their subject: in comments, names of functions, and documents.

use crate::documents::{code_spans, documents};
use crate::sizes::per_file;
use crate::source::{Kind, Source};
use crate::{Found, assert_none, check, prose};

/// Beginnings that make a reader look for the subject, in a text and in a name.
const RIDDLES: [&str; 8] = [
    "What ",
    "Who ",
    "Whoever ",
    "Whatever ",
    "Which ",
    "So many ",
    "As many ",
    "Those that ",
];

/// The sentences of a text that begin so and ask nothing. Code in backticks doesn't count.
fn riddles(text: &str, beginnings: &[&str]) -> Vec<String> {
    let (_, text) = code_spans(text);
    let mut found = Vec::new();
    for begin in beginnings {
        for (at, _) in text.match_indices(begin) {
            let is_word = text[..at]
                .chars()
                .next_back()
                .is_none_or(|c| !c.is_alphanumeric());
            let sentence = &text[at..];
            let end = sentence.find(['.', ':', ';', '|', '?']);
            let asks = end.is_some_and(|end| sentence[end..].starts_with('?'));
            if is_word && !asks {
                found.push(sentence[..end.unwrap_or(sentence.len())].to_owned());
            }
        }
    }
    found
}

/// The comments of a Rust file, those of adjacent lines as one, each with its first line.
fn blocks(source: &Source) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, usize, String)> = Vec::new();
    for comment in &source.comments {
        match blocks.last_mut() {
            Some((_, last, text)) if *last + 1 == comment.line => {
                *last = comment.line;
                text.push(' ');
                text.push_str(&comment.text);
            }
            _ => blocks.push((comment.line, comment.line, comment.text.clone())),
        }
    }
    let blocks = blocks.into_iter();
    blocks.map(|(first, _, text)| (first, text)).collect()
}

/// Comments and names of functions that begin as riddles.
pub fn riddles_of(text: &str) -> Vec<String> {
    let source = Source::of(text);
    let mut found = Vec::new();
    for (line, block) in blocks(&source) {
        let sentences = riddles(&block, &RIDDLES).into_iter();
        found.extend(sentences.map(|sentence| format!("line {line}: {sentence}")));
    }
    let names = source.tokens.windows(2).filter(|pair| pair[0].is("fn"));
    for name in names
        .map(|pair| &pair[1])
        .filter(|name| name.kind == Kind::Ident)
    {
        let begins = RIDDLES.iter().any(|begin| {
            let begin = begin.to_lowercase().replace(' ', "_");
            name.text.starts_with(&begin)
        });
        if begins {
            found.push(format!("line {}: fn {}", name.lines.0, name.text));
        }
    }
    found
}

/// The files whose comments or names are riddles.
pub fn riddles_of_sources() -> Found {
    per_file(riddles_of)
}

#[test]
fn no_comment_or_name_begins_with_a_riddle() {
    let rule = "a comment or a name begins with a riddle";
    check(rule, &riddles_of_sources());
}

#[test]
fn a_riddle_is_found_and_a_question_is_not() {
    for text in [
        "//! What is kept.",
        "/// Adds one. Who waits\n/// is told.",
        "// So many are kept.",
        "#[test]\nfn what_waits_is_kept() {}",
    ] {
        assert_eq!(riddles_of(text).len(), 1, "{text}");
    }
    for text in [
        "/// `What` it is.",
        "// What is kept? All.",
        "// The one which waits, and whatever else.",
        "let a = \"What is kept.\";",
        "fn whatsoever() {}",
    ] {
        assert_eq!(riddles_of(text), [""; 0], "{text}");
    }
}

#[test]
fn no_sentence_of_a_document_is_a_riddle() {
    let beginnings = [&RIDDLES[..], &["Those "]].concat();
    let mut found = Vec::new();
    for (name, text) in documents() {
        if name == "CHANGELOG.md" {
            continue;
        }
        for (at, line) in prose(&text) {
            let sentences = riddles(line, &beginnings).into_iter();
            found.extend(sentences.map(|sentence| format!("{name}:{at}: {sentence}")));
        }
    }
    assert_none(&found, "a sentence begins with its subject");
}
