//! The lines of docs/sources.md that are to be pasted and watched.

use std::process::Command;

use crate::support::Process;

/// The blocks of code of this language within the section.
fn blocks<'a>(section: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let parts = section.split(&begin).skip(1);
    parts
        .map(|part| part.split_once("```").expect("the block ends").0)
        .collect()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Each block ends with a comment: a line of the answer.
#[test]
fn the_pasted_lines_are_answered_as_the_page_says() {
    let page = include_str!("../../../docs/sources.md");
    let (_, section) = page.split_once("\n## Watch it\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the section ends");
    let (toml, lines) = (blocks(section, "toml"), blocks(section, "sh"));
    assert_eq!((toml.len(), lines.len()), (1, 7));
    if !is_there("curl") || !is_there("openssl") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n{}",
        toml[0]
    );
    let process = Process::serve(directory.path(), &toml);
    let address = process.client.address().to_string();
    for block in lines {
        let script = block.replace("localhost:8080", &address);
        let expected = block.trim_end().lines().last().expect("a comment");
        let expected = expected.strip_prefix("# ").expect("a comment");
        let output = Command::new("bash").args(["-c", &script]).output();
        let output = output.expect("a shell");
        let answer = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        let is_answered = answer.lines().any(|line| line.trim_end() == expected);
        assert!(is_answered, "{block}\n{answer}\n{error}");
    }
    process.kill();
}
