//! The rules of the house, checked on the sources and the documents.
//!
//! - [`invariants`]: absences in the code. [`seam`]: SQL stands below the store's engine.
//! - [`order`]: a delivery that is finished leaves its line.
//! - [`code_map`]: the head of a folder names its files.
//! - [`circles`]: no files import each other in a circle; [`modules`]: which file imports which.
//! - [`sizes`]: of files, functions and lines. [`language`]: sentences begin with their subject.
//! - [`waits`]: tests wait for conditions.
//! - [`documents`]: links, names and form. [`source`], [`lexer`]: a Rust file as tokens and
//!   comments.
//! - [`packaging`]: rules for Prometheus, and the dashboard for Grafana.
//! - [`figures`]: a table of it all.

mod circles;
mod code_map;
mod documents;
mod figures;
mod invariants;
mod language;
mod lexer;
mod modules;
mod order;
mod packaging;
mod seam;
mod sizes;
mod source;
mod waits;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use modules::Crate;
use source::{Source, Token};

/// The offences of files, by file.
type Found = BTreeMap<String, Vec<String>>;

/// The files below a folder whose names end so: path from the root, and text.
fn files(below: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(below), ending, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).expect("below the root");
            let text = fs::read_to_string(&path).expect("text");
            (name.to_string_lossy().into_owned(), text)
        })
        .collect()
}

/// The text of a file, if it is there.
fn text_of(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// The code of each file of src that holds more than tests, without its tests.
fn code_of_src() -> Vec<(String, Vec<Token>)> {
    let mut names = Crate::read("src/lib.rs", &text_of).files;
    names.insert("src/main.rs".to_owned());
    let files = names.into_iter().map(|name| {
        let code = Source::of(&text_of(&name).expect("it was read before")).code();
        (name, code)
    });
    files.collect()
}

/// A document's lines outside of code blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// Fails for each offence.
fn check(rule: &str, found: &Found) {
    let offences = found
        .iter()
        .flat_map(|(name, lines)| lines.iter().map(move |line| format!("{name}: {line}")));
    assert_none(&offences.collect::<Vec<_>>(), rule);
}

#[test]
#[should_panic(expected = "a rule:\nsrc/a.rs: line 1\nsrc/a.rs: line 2\nsrc/b.rs: line 1")]
fn each_offence_is_reported() {
    let found = [
        (
            "src/a.rs".to_owned(),
            vec!["line 1".to_owned(), "line 2".to_owned()],
        ),
        ("src/b.rs".to_owned(), vec!["line 1".to_owned()]),
    ];
    check("a rule", &found.into());
}
