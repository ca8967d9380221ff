use super::document;
use crate::model::request::JsonPointer;
use crate::model::route::body::PointerTree;

/// The JSON of the values at these pointers, found in one pass.
fn values<'a>(text: &'a str, pointers: &[&str]) -> Vec<Option<&'a str>> {
    let mut tree = PointerTree::new();
    let nodes: Vec<_> = pointers
        .iter()
        .map(|pointer| tree.add(&JsonPointer::parse(pointer).expect(pointer)))
        .collect();
    let places = tree.find(text);
    nodes.into_iter().map(|node| places.value(node)).collect()
}

fn value<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    values(text, &[pointer])[0]
}

#[test]
fn values_of_every_kind_are_found_at_their_pointers() {
    let text = r#" { "a" : { "b" : [ 1 , { "c" : "x,]}" } , null ] } , "a/b":true, "~":-1.5e3,
                "": "empty", "\u0064": "escaped", "0": [[2]] } "#;
    for (pointer, expected) in [
        ("/a/b/0", Some("1")),
        ("/a/b/1/c", Some("\"x,]}\"")),
        ("/a/b/2", Some("null")),
        ("/a/b/3", None),
        ("/a/b/-", None),
        ("/a/b/00", None),
        ("/a/b", Some(r#"[ 1 , { "c" : "x,]}" } , null ]"#)),
        ("/a/x", None),
        ("/a/b/0/x", None),
        ("/a~1b", Some("true")),
        ("/~0", Some("-1.5e3")),
        ("/", Some("\"empty\"")),
        ("/d", Some("\"escaped\"")),
        ("/0/0/0", Some("2")),
        ("/0/00", None),
    ] {
        assert_eq!(value(text, pointer), expected, "{pointer}");
    }
    for scalar in ["1", "\"a\"", "null", "[]", "{}"] {
        assert_eq!(values(scalar, &["/a", "/0"]), [None, None], "{scalar}");
    }
}

#[test]
fn of_a_repeated_member_the_last_one_counts() {
    for (text, expected) in [
        (r#"{"a":1,"a":2}"#, Some("2")),
        (r#"{"a":1,"\u0061":2}"#, Some("2")),
        (r#"{"a":{"b":1},"a":2}"#, Some("2")),
    ] {
        assert_eq!(value(text, "/a"), expected, "{text}");
    }
    for (text, expected) in [
        (r#"{"a":{"b":1},"a":{"b":2}}"#, Some("2")),
        (r#"{"a":{"b":1},"a":{"c":2}}"#, None),
        (r#"{"a":{"b":1},"a":2}"#, None),
        (r#"{"a":{"b":1},"a":[]}"#, None),
        (r#"{"a":2,"a":{"b":1}}"#, Some("1")),
        (r#"{"a":{"b":1,"b":{"c":2}}}"#, Some(r#"{"c":2}"#)),
    ] {
        assert_eq!(value(text, "/a/b"), expected, "{text}");
    }
    let text = r#"{"a":{"b":{"c":1}},"a":{"x":0},"a":{"b":{}}}"#;
    assert_eq!(values(text, &["/a/b/c", "/a/b"]), [None, Some("{}")]);
}

#[test]
fn depth_costs_no_stack() {
    const DEPTH: usize = 100_000;
    let deep = format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let text = format!(r#"{{"skipped":{deep},"a":2}}"#);
    assert_eq!(value(&text, "/a"), Some("2"));
    // Along the pointer itself, too.
    let pointer = "/0".repeat(DEPTH);
    assert_eq!(value(&deep, &pointer), Some("1"));
    let nested = format!("{}1{}", r#"{"a":"#.repeat(300), "}".repeat(300));
    assert_eq!(value(document(&nested).get(), &"/a".repeat(300)), Some("1"));
}

#[test]
fn a_text_that_is_no_json_ends_the_pass() {
    let pointers = ["/a", "/a/b", "/0", "/a/0", "/1/a"];
    for text in [
        "",
        "{",
        "[",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":\"\\",
        "}",
        "]",
        "{]",
        "[}",
        "{\"a\"}",
        "{1:2}",
        "[,,",
        ":",
        "{\"a\":{\"b\":",
        "[1 2",
        "{\"\\ud800\":1}",
        "{{{{",
        "\u{fe}",
    ] {
        values(text, &pointers);
        for (at, _) in text.char_indices() {
            values(&text[at..], &pointers);
        }
    }
}
