//! As much of a lexer of Rust as the rules need.

use crate::source::{Comment, Kind, Source, Token};

pub struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    source: Source,
}

impl Lexer {
    pub fn read(text: &str) -> Source {
        let mut lexer = Self {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
            source: Source {
                tokens: Vec::new(),
                comments: Vec::new(),
            },
        };
        while lexer.at < lexer.chars.len() {
            lexer.step();
        }
        lexer.source
    }

    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Takes characters up to `end`, and counts their lines.
    fn take(&mut self, end: usize) -> String {
        let end = end.min(self.chars.len());
        let taken: String = self.chars[self.at..end].iter().collect();
        self.line += taken.matches('\n').count();
        self.at = end;
        taken
    }

    fn push(&mut self, kind: Kind, text: String, begin: usize, columns: usize) {
        self.source.tokens.push(Token {
            kind,
            text,
            lines: (begin, self.line),
            columns,
        });
    }

    fn step(&mut self) {
        let first = self.peek(0);
        let word = self.length(|c| c.is_alphanumeric() || c == '_');
        if first.is_whitespace() {
            self.take(self.at + 1);
        } else if first == '/' && matches!(self.peek(1), '/' | '*') {
            self.comment();
        } else if let Some((prefix, hashes, is_raw)) = self.string_start() {
            self.string(prefix, hashes, is_raw);
        } else if first == '\'' {
            self.quote();
        } else if first.is_alphabetic() || first == '_' {
            let is_raw_name = first == 'r' && word == 1 && self.peek(1) == '#';
            if is_raw_name {
                self.take(self.at + 2);
            }
            let length = self.length(|c| c.is_alphanumeric() || c == '_');
            let text = self.take(self.at + length);
            self.push(Kind::Ident, text, self.line, 0);
        } else if first.is_ascii_digit() {
            let text = self.take(self.at + word);
            self.push(Kind::Other, text, self.line, 0);
        } else {
            let two: String = [first, self.peek(1)].iter().collect();
            let length = if matches!(two.as_str(), "::" | "->" | "=>") {
                2
            } else {
                1
            };
            let text = self.take(self.at + length);
            self.push(Kind::Punct, text, self.line, 0);
        }
    }

    /// How many characters from here on are such.
    fn length(&self, is_such: impl Fn(char) -> bool) -> usize {
        let rest = self.chars[self.at..].iter();
        rest.take_while(|&&c| is_such(c)).count()
    }

    fn comment(&mut self) {
        let begin = self.at;
        let first_line = self.line;
        let mut end = begin;
        if self.peek(1) == '/' {
            end += self.length(|c| c != '\n');
        } else {
            let mut depth = 0;
            while end < self.chars.len() {
                let two = (self.chars[end], self.chars.get(end + 1).copied());
                match two {
                    ('/', Some('*')) => depth += 1,
                    ('*', Some('/')) => depth -= 1,
                    _ => {
                        end += 1;
                        continue;
                    }
                }
                end += 2;
                if depth == 0 {
                    break;
                }
            }
        }
        let text = self.take(end);
        for (line, text) in (first_line..).zip(text.lines()) {
            let text = text.trim_start_matches([' ', '/', '!', '*']);
            let text = text.trim_end_matches(['*', '/']).trim_end().to_owned();
            self.source.comments.push(Comment { line, text });
        }
    }

    /// If a string begins here: the characters before its quote, the hashes, and whether it is raw.
    fn string_start(&self) -> Option<(usize, usize, bool)> {
        let prefix = self.length(|c| matches!(c, 'b' | 'r' | 'c'));
        let is_raw = prefix > 0 && self.peek(prefix - 1) == 'r';
        let hashes = if is_raw {
            let rest = self.chars[self.at + prefix..].iter();
            rest.take_while(|&&c| c == '#').count()
        } else {
            0
        };
        (prefix <= 2 && self.peek(prefix + hashes) == '"').then_some((prefix, hashes, is_raw))
    }

    fn string(&mut self, prefix: usize, hashes: usize, is_raw: bool) {
        let (begin, first_line) = (self.at, self.line);
        let open = begin + prefix + hashes + 1;
        let mut end = open;
        while end < self.chars.len() {
            let closes = self.chars[end] == '"'
                && (1..=hashes).all(|ahead| self.chars.get(end + ahead) == Some(&'#'));
            if closes {
                break;
            }
            end += if !is_raw && self.chars[end] == '\\' {
                2
            } else {
                1
            };
        }
        let end = end.min(self.chars.len());
        let text: String = self.chars[open.min(end)..end].iter().collect();
        self.take(end + 1 + hashes);
        let columns = if self.line == first_line {
            self.at - begin
        } else {
            0
        };
        self.push(Kind::Str, text, first_line, columns);
    }

    /// A character or a lifetime.
    fn quote(&mut self) {
        let length = match (self.peek(1), self.peek(2)) {
            ('\\', _) => {
                let rest = &self.chars[self.at + 3..];
                3 + rest.iter().take_while(|&&c| c != '\'').count() + 1
            }
            (_, '\'') => 3,
            _ => {
                let rest = &self.chars[self.at + 1..];
                1 + rest
                    .iter()
                    .take_while(|c| c.is_alphanumeric() || **c == '_')
                    .count()
            }
        };
        let text = self.take(self.at + length);
        self.push(Kind::Other, text, self.line, 0);
    }
}
