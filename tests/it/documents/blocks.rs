//! The commands of a document: those of its `sh` blocks.

use std::path::Path;

/// A block of code.
#[derive(Debug)]
pub struct Block {
    /// The heading above it, without its marks.
    pub heading: String,
    /// Its number below this heading, from 1.
    pub number: usize,
    pub commands: Vec<String>,
}

/// The text of a file of the repository.
pub fn text_of(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The `sh` blocks of a Markdown text.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut heading, mut number) = (String::new(), 0);
    // The language of the block that the line is in, and the block's lines.
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    title
                        .trim_start_matches('#')
                        .trim()
                        .clone_into(&mut heading);
                    number = 0;
                }
            }
            (Some(_), Some(_)) => {
                number += 1;
                let (language, lines) = open.take().expect("it is open");
                if language == "sh" {
                    found.push(Block {
                        heading: heading.clone(),
                        number,
                        commands: commands(&lines),
                    });
                }
            }
            (Some((_, lines)), None) => {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }
    found
}

/// The commands of a block, without comments. A command goes on in the next line within quotes, a
/// document or a substitution, and behind a backslash, a pipe or `&&`.
fn commands(lines: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut command = Command::default();
    for line in lines.lines() {
        command.add(line);
        if command.is_whole() {
            let text = std::mem::take(&mut command).text;
            let text = text.trim();
            if !text.is_empty() {
                found.push(text.to_owned());
            }
        }
    }
    assert!(command.text.is_empty(), "it never ends: {}", command.text);
    found
}

/// A command as far as it was read.
#[derive(Default)]
struct Command {
    text: String,
    quote: Option<char>,
    depth: usize,
    /// The word that ends the document which the command reads.
    ending: Option<String>,
}

impl Command {
    fn add(&mut self, line: &str) {
        if let Some(ending) = &self.ending {
            self.text.push_str(line);
            self.text.push('\n');
            if line == ending {
                self.ending = None;
            }
            return;
        }
        let code = self.scan(line);
        let code = if self.quote.is_none() {
            code.trim_end()
        } else {
            code
        };
        self.text.push_str(code);
        self.text.push('\n');
        if let Some((_, rest)) = code.split_once("<<'") {
            self.ending = rest.split('\'').next().map(str::to_owned);
        }
    }

    /// The line without its comment.
    fn scan<'a>(&mut self, line: &'a str) -> &'a str {
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            match (self.quote, c) {
                (None, '#') if before.is_whitespace() => return &line[..at],
                (None, '\'' | '"') if before != '\\' => self.quote = Some(c),
                (None, '(') => self.depth += 1,
                (None, ')') => self.depth -= 1,
                (Some(quote), _) if quote == c && before != '\\' => self.quote = None,
                _ => {}
            }
            before = c;
        }
        line
    }

    fn is_whole(&self) -> bool {
        let text = self.text.trim_end();
        let goes_on = ["\\", "|", "&&"].iter().any(|end| text.ends_with(end));
        self.quote.is_none() && self.depth == 0 && self.ending.is_none() && !goes_on
    }
}

#[test]
fn commands_are_told_apart_by_lines_quotes_and_documents() {
    let text = "# Title\n\n```sh\none            # a comment\n\
        two -H \"a # b\" \\\n  -d '{\"a\":\n  1}'\n```\n\n```toml\nx = 1\n```\n\n\
        ## Next: `code`\n\n```sh\n# only a comment\ncat >>file <<'END'\n# kept\n\n[x]\nEND\n\
        key=$(a |\n  b) && c\nman -l - | \\\n  less\n```\n";
    let found = blocks(text);
    let places: Vec<_> = found
        .iter()
        .map(|block| (block.heading.as_str(), block.number))
        .collect();
    assert_eq!(places, [("Title", 1), ("Next: `code`", 1)]);
    assert_eq!(
        found[0].commands,
        ["one", "two -H \"a # b\" \\\n  -d '{\"a\":\n  1}'"]
    );
    assert_eq!(
        found[1].commands,
        [
            "cat >>file <<'END'\n# kept\n\n[x]\nEND",
            "key=$(a |\n  b) && c",
            "man -l - | \\\n  less"
        ]
    );
}
