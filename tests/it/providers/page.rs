//! The part of docs/sources.md that is made of the providers' files.

use std::fmt::Write as _;
use std::path::Path;

use super::table::{NOT_CONNECTED, Row, row, verification};
use super::{Provider, all};

/// The heading that the made part begins with.
const BEGIN: &str = "\n## Providers\n";
/// The columns that a line may have.
const COLUMNS: usize = 100;

/// The anchor of a heading, by the rules of forges.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor: String = heading.to_lowercase().chars().filter(kept).collect();
    anchor.replace(' ', "-")
}

/// Plain text as Markdown.
fn escaped(text: &str) -> String {
    text.replace('*', "\\*").replace('<', "&lt;")
}

/// Lines of at most [`COLUMNS`], the first one after `first`, the others after as many blanks.
fn wrapped(first: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(first.chars().count());
    let mut lines = vec![first.to_owned()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        let is_empty = line.trim_end().len() == first.trim_end().len() && line.ends_with(' ')
            || *line == indent
            || line.is_empty();
        let needed = word.chars().count() + usize::from(!is_empty);
        if is_empty || line.chars().count() + needed <= COLUMNS {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines
}

/// Bullets of at most two lines: a note of more sentences becomes several bullets.
fn bullets(note: &str) -> String {
    let mut bullets: Vec<String> = Vec::new();
    for sentence in note.split_inclusive(". ") {
        let sentence = sentence.trim_end();
        let longer = bullets.last().map(|last| format!("{last} {sentence}"));
        match longer.filter(|longer| wrapped("- ", longer).len() <= 2) {
            Some(longer) => *bullets.last_mut().expect("there is one") = longer,
            None => bullets.push(sentence.to_owned()),
        }
    }
    let lines = bullets.iter().flat_map(|bullet| wrapped("- ", bullet));
    lines.map(|line| line + "\n").collect()
}

fn table(providers: &[Provider]) -> String {
    let mut table = "| sender | `provider` | tested with | key | handshake | answer |\n\
         |---|---|---|---|---|---|\n"
        .to_owned();
    for Row {
        title,
        name,
        verified_by,
        key,
        handshakes,
        answer,
    } in providers.iter().map(row)
    {
        let link = anchor(&title);
        writeln!(
            table,
            "| [{title}](#{link}) | `{name}` | {verified_by} | {key} | {handshakes} | {answer} |"
        )
        .expect("a String takes all");
    }
    for (title, reason) in NOT_CONNECTED {
        writeln!(table, "| {title} | none | not connected: {reason} | | | |")
            .expect("a String takes all");
    }
    table
}

fn section(provider: &Provider) -> String {
    let evidence = match &*provider.verified_by {
        "published vector" => "tested with a published vector",
        "documented scheme" => "tested by the documented scheme: no vector is published",
        _ => "it proves the sender, not the content",
    };
    let mut section = format!("\n### {}\n\n", provider.title);
    let verified = format!(
        "[Documentation]({}). Verified: {}; {evidence}.",
        provider.docs,
        escaped(&verification(&provider.source))
    );
    // A link's target doesn't count.
    let shown = verified.replace(&format!("({})", provider.docs), "()");
    for line in wrapped("", &shown) {
        let target = format!("[Documentation]({}).", provider.docs);
        writeln!(
            section,
            "{}",
            line.replacen("[Documentation]().", &target, 1)
        )
        .expect("a String takes all");
    }
    let name = &provider.name;
    let lines = provider.needs.iter().filter_map(|need| need.line.as_ref());
    let lines: String = lines.map(|line| line.clone() + "\n").collect();
    write!(
        section,
        "\n```toml\n[sources.{name}]\nprovider = \"{name}\"\n{lines}destinations = [\"orders\"]\n```\n\n"
    )
    .expect("a String takes all");
    for (number, step) in (1..).zip(&provider.setup) {
        for line in wrapped(&format!("{number}. "), &escaped(step)) {
            writeln!(section, "{line}").expect("a String takes all");
        }
    }
    section.push('\n');
    for note in &provider.notes {
        section.push_str(&bullets(&escaped(note)));
    }
    section
}

fn made(providers: &[Provider]) -> String {
    let mut page = "\nThis part is made of the files in `providers/`, of which each holds what is \
         said here and the\nrequests that it is tested with: `RELAY_WRITE_DOCS=1 cargo test --test it \
         providers::page` writes it\nanew. *Key*: where the idempotency key is. *Answer*: to an \
         event that was accepted.\n\n"
        .to_owned();
    page.push_str(&table(providers));
    for provider in providers {
        page.push_str(&section(provider));
    }
    page
}

#[test]
fn the_page_about_sources_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sources.md");
    let text = std::fs::read_to_string(&path).expect("the page");
    let begin = text.find(BEGIN).expect("the heading of the made part") + BEGIN.len();
    let expected = format!("{}{}", &text[..begin], made(&all()));
    if std::env::var_os("RELAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("writing the page");
        return;
    }
    assert!(
        text == expected,
        "docs/sources.md differs from providers/: RELAY_WRITE_DOCS=1 writes it anew"
    );
}
