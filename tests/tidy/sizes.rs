//! How large files and functions are, and how wide lines.

use std::collections::BTreeMap;

use crate::source::{Kind, Source, Token, close, lines_of};
use crate::{Found, assert_none, check, code_of_src, files, prose};

/// Lines of code that a file may have: without blank lines, comments and tests.
pub const FILE: usize = 350;

/// Lines of code that a function's body may have.
pub const FUNCTION: usize = 60;

/// The columns that a line may have. The targets of links don't count, nor long strings.
pub const COLUMNS: usize = 100;

/// The lines of code of each file of src.
pub fn lines_of_files() -> BTreeMap<String, usize> {
    let sizes = code_of_src().into_iter();
    sizes
        .map(|(name, code)| (name, lines_of(&code).len()))
        .collect()
}

/// The files of src with too much code.
pub fn long_files() -> Found {
    let long = lines_of_files().into_iter();
    let long = long.filter(|(_, lines)| *lines > FILE);
    long.map(|(name, lines)| (name, vec![format!("{lines} lines of code")]))
        .collect()
}

#[test]
fn files_of_src_have_350_lines_of_code_at_most() {
    check("a file has too much code", &long_files());
}

#[test]
fn comments_blank_lines_and_tests_are_no_lines_of_code() {
    let text = "//! A\n\nfn a() {\n    // b\n    b(\"x\ny\");\n}\n\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(lines_of(&Source::of(text).code()).len(), 4);
}

/// The files of src that are too long as a whole, tests and comments included.
pub fn long_with_tests() -> Found {
    let sizes = files("src", ".rs").into_iter();
    let sizes = sizes.map(|(name, text)| (name, text.lines().count()));
    let long = sizes.filter(|(_, lines)| *lines > 600);
    long.map(|(name, lines)| (name, vec![format!("{lines} lines")]))
        .collect()
}

#[test]
fn files_have_600_lines_at_most() {
    let rule = "a file of more than 600 lines wants splitting";
    check(rule, &long_with_tests());
}

/// The functions of a file, each with its line and the lines of code between its braces.
pub fn functions(code: &[Token]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, pair) in code.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        if !keyword.is("fn") || name.kind != Kind::Ident {
            continue;
        }
        let mut open = at + 2;
        while open < code.len() && !code[open].is("{") && !code[open].is(";") {
            let is_bracket = code[open].is("(") || code[open].is("[");
            open = if is_bracket {
                close(code, open)
            } else {
                open + 1
            };
        }
        if open < code.len() && code[open].is("{") {
            let end = close(code, open) - 1;
            let (first, last) = (code[open].lines.0, code[end].lines.0);
            let mut lines = lines_of(&code[open..end]);
            lines.remove(&first);
            lines.remove(&last);
            found.push((name.text.clone(), name.lines.0, lines.len()));
        }
    }
    found
}

/// The functions of src that are too long.
pub fn long_functions() -> Found {
    let mut found = Found::new();
    for (name, code) in code_of_src() {
        for (function, line, lines) in functions(&code) {
            if lines > FUNCTION {
                let entry = found.entry(name.clone()).or_default();
                entry.push(format!("line {line}: {function} has {lines}"));
            }
        }
    }
    found
}

#[test]
fn functions_of_src_have_60_lines_at_most() {
    let rule = "a function is too long";
    check(rule, &long_functions());
}

#[test]
fn a_long_function_is_found() {
    let body = "    x();\n    // y\n\n".repeat(FUNCTION + 1);
    let text = format!("impl A {{\n    fn a(b: [u8; 2]) -> C {{\n{body}}}\n    fn b();\n}}\n");
    let found = functions(&Source::of(&text).code());
    assert_eq!(found, [("a".to_owned(), 2, FUNCTION + 1)]);
}

/// Lines of a Rust file that are too wide. Tables and links may be, and strings that don't fit on a
/// line of their own.
pub fn wide_lines(text: &str) -> Vec<String> {
    let source = Source::of(text);
    let wide = (1..).zip(text.lines()).filter_map(|(at, line)| {
        let columns = line.chars().count();
        if columns <= COLUMNS {
            return None;
        }
        let comment = line
            .trim_start()
            .trim_start_matches(['/', '!'])
            .trim_start();
        let is_table = line.trim_start().starts_with("//") && comment.starts_with('|');
        let links = line.split_whitespace().filter(|word| word.contains("://"));
        let links: usize = links.map(|link| link.chars().count()).sum();
        let indent = columns - line.trim_start().chars().count();
        let strings = source.tokens.iter().filter(|token| token.kind == Kind::Str);
        let here = strings.filter(|token| (token.lines.0..=token.lines.1).contains(&at));
        // A line of a string of several lines is data.
        let mut is_data = false;
        let mut data = 0;
        for string in here {
            is_data |= string.columns == 0;
            // A comma follows it.
            if indent + string.columns + 1 > COLUMNS {
                data += string.columns;
            }
        }
        let counted = columns.saturating_sub(links.max(data));
        let is_exempt = is_table || is_data || counted <= COLUMNS;
        (!is_exempt).then(|| format!("line {at}: {columns} columns"))
    });
    wide.collect()
}

#[test]
fn lines_of_sources_end_at_100_columns() {
    let found = per_file(wide_lines);
    check("a line is too wide", &found);
}

/// Offenders in all Rust files of the project, by file.
pub fn per_file(offenders: impl Fn(&str) -> Vec<String>) -> Found {
    let folders = ["src", "tests", "benches", "examples", "fuzz/fuzz_targets"];
    let all = folders.iter().flat_map(|folder| files(folder, ".rs"));
    let found = all.map(|(name, text)| (name, offenders(&text)));
    found.filter(|(_, lines)| !lines.is_empty()).collect()
}

#[test]
fn a_wide_line_is_found_and_data_is_not() {
    let fill = "x".repeat(COLUMNS);
    for text in [
        format!("// {fill}"),
        format!("fn {fill}() {{}}"),
        // The string would fit on a line of its own.
        format!("    f({}, \"{}\");", "y".repeat(60), "x".repeat(60)),
    ] {
        assert_eq!(wide_lines(&text).len(), 1, "{text}");
    }
    for text in [
        format!("// | {fill} |"),
        format!("// See https://example.com/{fill}"),
        format!("    f(\"{fill}\");"),
        format!("    f(\"\n{fill}\n\");"),
    ] {
        assert!(wide_lines(&text).is_empty(), "{text}");
    }
}

#[test]
fn lines_of_documents_end_at_100_columns() {
    let mut long = Vec::new();
    for (name, text) in crate::documents::documents() {
        for (at, line) in prose(&text).filter(|(_, line)| !line.starts_with(['|', '!'])) {
            let links = crate::documents::links(line);
            let targets: usize = links.iter().map(|link| link.chars().count()).sum();
            let columns = line.chars().count() - targets;
            if columns > COLUMNS {
                long.push(format!("{name}:{at}: {columns} columns"));
            }
        }
    }
    assert_none(
        &long,
        "a line ends at 100 columns, but for tables, links and code",
    );
}
