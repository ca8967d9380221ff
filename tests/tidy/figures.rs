//! The figures behind the rules: `cargo test --test tidy -- --nocapture figures` prints them, and
//! writes all imports and offences to target/tmp.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::modules::Imports;
use crate::{Found, circles, code_of_src, files, invariants, language, modules, seam, sizes};

/// Rules about files, and their offences.
fn rules(imports: &Imports) -> [(&'static str, Found); 7] {
    [
        ("IN_A_CIRCLE", circles::in_circles(imports)),
        ("TOO_LONG", sizes::long_files()),
        ("LONG_WITH_TESTS", sizes::long_with_tests()),
        ("LONG_FUNCTIONS", sizes::long_functions()),
        ("KNOWS_THE_ENGINE", seam::engine_outside()),
        ("WIDE", sizes::per_file(sizes::wide_lines)),
        ("RIDDLES", language::riddles_of_sources()),
    ]
}

/// The imports without those from a file's own face, such as a `mod.rs` above it.
fn without_faces(imports: &Imports) -> Imports {
    let is_face = |face: &str, file: &str| {
        let folder = face
            .strip_suffix("/mod.rs")
            .or(face.strip_suffix("/lib.rs"));
        let folder = folder.or(face.strip_suffix(".rs")).unwrap_or(face);
        file.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let mut imports = imports.clone();
    imports.retain(|(importer, imported), _| !is_face(imported, importer));
    imports
}

fn shown(circles: &[BTreeSet<String>]) -> String {
    let files: Vec<_> = circles.iter().map(BTreeSet::len).collect();
    format!("{} of {files:?} files", circles.len())
}

#[test]
fn figures() {
    let imports = circles::imports_of_src();
    let rules = rules(&imports);
    let (longest_name, longest) = sizes::lines_of_files()
        .into_iter()
        .max_by_key(|(_, lines)| *lines)
        .expect("files of src");
    let functions: Vec<_> = code_of_src()
        .into_iter()
        .flat_map(|(file, code)| {
            let functions = sizes::functions(&code).into_iter();
            functions.map(move |(name, _, lines)| (lines, format!("{name} in {file}")))
        })
        .collect();
    let (lines, function) = functions.iter().max().expect("functions");
    let long = functions
        .iter()
        .filter(|(lines, _)| *lines > sizes::FUNCTION);
    let grandparents: usize = files("src", ".rs")
        .iter()
        .map(|(_, text)| invariants::grandparents(text).count())
        .sum();
    let mut table: Vec<(&str, String)> = vec![
        ("circles of imports", shown(&modules::circles(&imports))),
        (
            "circles, without imports from own faces",
            shown(&modules::circles(&without_faces(&imports))),
        ),
        (
            "longest file, lines of code",
            format!("{longest} ({longest_name})"),
        ),
        ("longest function, lines", format!("{lines} ({function})")),
        ("functions over 60 lines", long.count().to_string()),
        ("uses of super::super", grandparents.to_string()),
    ];
    let names = [
        "engine or SQL outside its folder",
        "lines over 100 columns",
        "comments and names as riddles",
    ];
    for (name, (_, found)) in names.iter().zip(&rules[4..]) {
        let lines: usize = found.values().map(Vec::len).sum();
        table.push((name, format!("{lines} in {} files", found.len())));
    }
    for (name, figure) in table {
        println!("{name:<40} {figure}");
    }
    write_down(&rules, &imports);
}

/// Writes all offences and imports to target/tmp/tidy.tsv.
fn write_down(rules: &[(&str, Found)], imports: &Imports) {
    let mut listed = String::new();
    for (rule, found) in rules {
        for (name, lines) in found {
            for line in lines {
                writeln!(listed, "{rule}\t{name}\t{line}").expect("a String takes all");
            }
        }
    }
    for ((importer, imported), names) in imports {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let names = names.join(", ");
        writeln!(listed, "import\t{importer}\t{imported}\t{names}").expect("a String takes all");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tidy.tsv");
    fs::write(path, listed).expect("a temporary directory");
}
