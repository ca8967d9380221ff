//! The head of a file names the files of its folder, so that a reader finds them there.

use crate::source::{Source, Token};
use crate::{Found, check, code_of_src, text_of};

/// The sign of a folder whose files are of one kind: their names say all.
const ALIKE: &str = "one a file";

/// The modules that code declares and that lie in files of their own.
fn declared(code: &[Token]) -> impl Iterator<Item = &str> {
    let in_files = code
        .windows(3)
        .filter(|three| three[0].is("mod") && three[2].is(";"));
    in_files.map(|three| three[1].text.as_str())
}

/// The comment at the top of a file, about the file itself.
fn head(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with("//!"));
    lines.collect::<Vec<_>>().join("\n")
}

fn names(head: &str, module: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    head.split(|letter| !is_word(letter))
        .any(|word| word == module)
}

/// The modules that a file declares and doesn't name.
fn unnamed(text: &str, code: &[Token]) -> Vec<String> {
    let head = head(text);
    let unnamed = declared(code).filter(|module| !names(&head, module) && !head.contains(ALIKE));
    unnamed.map(str::to_owned).collect()
}

#[test]
fn the_head_of_a_file_names_the_files_of_its_folder() {
    let found: Found = code_of_src()
        .into_iter()
        .map(|(name, code)| {
            let unnamed = unnamed(&text_of(&name).expect("it was read before"), &code);
            (name, unnamed)
        })
        .collect();
    check("files that their folder's head doesn't name", &found);
}

#[test]
fn a_file_that_no_head_names_is_found() {
    for (text, expected) in [
        (
            "//! `one`: the first.\nmod one;\npub(crate) mod two;\nmod three {}",
            vec!["two"],
        ),
        ("//! The parts, one a file.\nmod one;\nmod two;", vec![]),
        (
            "//! Many_ones.\n#[cfg(test)]\nmod tests;\nmod one;",
            vec!["one"],
        ),
        ("mod one;\n//! `one`", vec!["one"]),
    ] {
        assert_eq!(unnamed(text, &Source::of(text).code()), expected, "{text}");
    }
}
