//! A Rust file as tokens and comments, with or without its tests.

use std::collections::BTreeSet;

use crate::lexer::Lexer;

/// A token of code. Comments are kept apart, so that no rule mistakes words for code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// A string's contents without its quotes; anything else as it is written.
    pub text: String,
    /// The first line and the last, from 1.
    pub lines: (usize, usize),
    /// The columns of a string with its quotes; 0 for other tokens and for strings of several
    /// lines.
    pub columns: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ident,
    Str,
    /// Numbers, characters and lifetimes.
    Other,
    /// A single character, or one of `::`, `->` and `=>`.
    Punct,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.kind != Kind::Str && self.text == text
    }
}

/// A line of a comment, without its slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    pub line: usize,
    pub text: String,
}

pub struct Source {
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
}

impl Source {
    pub fn of(text: &str) -> Self {
        Lexer::read(text)
    }

    /// The tokens that don't belong to tests: no item below `#[cfg(test)]` or `#[test]`, and none
    /// at all under `#![cfg(test)]`.
    pub fn code(&self) -> Vec<Token> {
        let mut kept = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let Some((end, is_test)) = attribute(&self.tokens, at) else {
                kept.push(self.tokens[at].clone());
                at += 1;
                continue;
            };
            if is_test && self.tokens[at + 1].is("!") {
                return Vec::new();
            }
            if is_test {
                at = end_of_item(&self.tokens, end);
            } else {
                kept.extend_from_slice(&self.tokens[at..end]);
                at = end;
            }
        }
        kept
    }
}

/// The lines that hold a token.
pub fn lines_of(tokens: &[Token]) -> BTreeSet<usize> {
    let lines = tokens
        .iter()
        .flat_map(|token| token.lines.0..=token.lines.1);
    lines.collect()
}

/// The end of the attribute that begins at `at`, and whether it marks a test.
fn attribute(tokens: &[Token], at: usize) -> Option<(usize, bool)> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.is(text));
    if !is(at, "#") {
        return None;
    }
    let open = if is(at + 1, "!") { at + 2 } else { at + 1 };
    if !is(open, "[") {
        return None;
    }
    let end = close(tokens, open);
    let inner = &tokens[open + 1..end - 1];
    let is_cfg = inner.first().is_some_and(|token| token.is("cfg"));
    let names_test = (0..inner.len()).any(|at| {
        let is_negated = at >= 2 && inner[at - 2].is("not");
        inner[at].is("test") && !is_negated
    });
    let is_alone = inner.len() == 1;
    Some((end, names_test && (is_cfg || is_alone)))
}

/// The place after the bracket that closes the one at `open`.
pub fn close(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Punct {
            continue;
        }
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The place after the item, field or statement that begins at `at`, further attributes included.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while let Some((end, _)) = attribute(tokens, at) {
        at = end;
    }
    let has_body = [
        "fn",
        "struct",
        "enum",
        "trait",
        "impl",
        "mod",
        "union",
        "macro_rules",
    ];
    let ends_at_semicolon = ["use", "let", "const", "static", "type"];
    let mut is_item = false;
    let mut waits_for_semicolon = false;
    let mut angles = 0_i32;
    while at < tokens.len() {
        let token = &tokens[at];
        match token.text.as_str() {
            _ if token.kind == Kind::Str => {}
            text if !is_item && !waits_for_semicolon && has_body.contains(&text) => is_item = true,
            text if !is_item && ends_at_semicolon.contains(&text) => {
                // `const fn` is a function.
                let is_function = tokens.get(at + 1).is_some_and(|next| next.is("fn"));
                waits_for_semicolon = !is_function;
            }
            ";" => return at + 1,
            "," if !is_item && !waits_for_semicolon && angles == 0 => return at + 1,
            "}" | ")" | "]" => return at,
            "<" => angles += 1,
            ">" => angles -= 1,
            "(" | "[" | "{" => {
                let end = close(tokens, at);
                if token.is("{") && !waits_for_semicolon {
                    return end;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    at
}

#[test]
fn code_is_told_from_comments_strings_and_tests() {
    let source = Source::of(
        "// one\n/// two `x`\nfn a<'a>(x: &'a str) -> char { '\\'' } /* three */\n\
         const B: &str = r#\"fn no() { // \"#;\n#[cfg(test)]\nmod tests { fn c() {} }\nfn d() {}\n\
         #[cfg(not(test))]\nfn e() {}\n#[test]\n#[ignore]\nfn f() { g(); }\nstruct H {\n\
         #[cfg(test)]\ni: Mutex<Map<J, K>>,\nl: M }\n#[cfg(test)]\nuse n::{o};\nfn p() {}",
    );
    let code = source.code();
    let has = |word: &str| code.iter().any(|token| token.is(word));
    for word in ["a", "B", "d", "e", "l", "M", "p"] {
        assert!(has(word), "{word} is code");
    }
    for word in ["one", "no", "c", "f", "g", "i", "J", "K", "n", "o"] {
        assert!(!has(word), "{word} is none");
    }
    let comments: Vec<_> = source
        .comments
        .iter()
        .map(|comment| &*comment.text)
        .collect();
    assert_eq!(comments, ["one", "two `x`", "three"]);
    assert_eq!(lines_of(&code).iter().max(), Some(&19));
    assert!(Source::of("#![cfg(test)]\nfn a() {}").code().is_empty());
}
