//! No files of src import each other in a circle.

use std::collections::BTreeSet;

use crate::modules::{Crate, Imports, circles};
use crate::{Found, check, text_of};

/// The files that stand in circles, each with the imports that tie it to its circle.
pub fn in_circles(imports: &Imports) -> Found {
    let mut found = Found::new();
    for circle in circles(imports) {
        for ((importer, imported), names) in imports {
            if circle.contains(importer) && circle.contains(imported) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                let tie = format!("imports {} from {imported}", names.join(", "));
                found.entry(importer.clone()).or_default().push(tie);
            }
        }
    }
    found
}

pub fn imports_of_src() -> Imports {
    Crate::read("src/lib.rs", &text_of).imports()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let rule = "files import each other in a circle";
    check(rule, &in_circles(&imports_of_src()));
}

/// The circles of a crate that consists of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<BTreeSet<String>> {
    let read = |path: &str| {
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| (*text).to_owned())
    };
    circles(&Crate::read("src/lib.rs", &read).imports())
}

fn circle<const N: usize>(files: [&str; N]) -> Vec<BTreeSet<String>> {
    vec![files.map(str::to_owned).into()]
}

#[test]
fn a_circle_is_found_by_use_items_and_by_paths() {
    let root = ("src/lib.rs", "mod a; mod b;");
    for (a, b) in [
        (
            "use crate::b::B; pub struct A;",
            "use crate::a::A; pub struct B;",
        ),
        (
            "use super::b::{self, B}; pub struct A;",
            "use crate::{a::{A}}; pub struct B;",
        ),
        (
            "pub struct A(crate::b::B);",
            "use crate::a; pub struct B(a::A);",
        ),
        (
            "fn f() { super::b::g() }",
            "pub fn g() { use crate::a::f as _; }",
        ),
        (
            "#[serde(with = \"crate::b::g\")] struct A;",
            "use crate::a::A; fn g() {}",
        ),
    ] {
        let found = circles_of(&[root, ("src/a.rs", a), ("src/b.rs", b)]);
        assert_eq!(found, circle(["src/a.rs", "src/b.rs"]), "{a} {b}");
    }
}

#[test]
fn a_circle_is_traced_through_a_facade() {
    let found = circles_of(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a/mod.rs", "mod inner; pub use inner::A;"),
        ("src/a/inner.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "use crate::a::A; pub struct B;"),
    ]);
    assert_eq!(found, circle(["src/a/inner.rs", "src/b.rs"]));
}

#[test]
fn a_child_that_imports_from_its_face_makes_a_circle() {
    let root = ("src/lib.rs", "mod a;");
    let face = ("src/a/mod.rs", "mod b; mod c; pub use b::B; pub use c::C;");
    let c = ("src/a/c.rs", "pub struct C;");
    let through_its_face = ("src/a/b.rs", "use super::C; pub struct B;");
    let found = circles_of(&[root, face, c, through_its_face]);
    assert_eq!(found, circle(["src/a/b.rs", "src/a/mod.rs"]));
    let from_its_sibling = ("src/a/b.rs", "use crate::a::c::C; pub struct B;");
    assert!(circles_of(&[root, face, c, from_its_sibling]).is_empty());
}

#[test]
fn imports_of_tests_and_declared_modules_make_no_circle() {
    let found = circles_of(&[
        (
            "src/lib.rs",
            "mod a; mod b; pub struct Root; #[cfg(test)] mod tests;",
        ),
        (
            "src/a.rs",
            "use crate::b::B; use crate::Root; pub struct A;",
        ),
        (
            "src/b.rs",
            "// crate::a::A\npub struct B; #[cfg(test)] mod tests { use crate::a::A; }",
        ),
        ("src/tests.rs", "use crate::a::A;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}
