//! A delivery that is finished or deleted leaves the line of its ordering key: otherwise those
//! behind it would wait for ever.

use crate::source::{Kind, Token};
use crate::{Found, check, code_of_src};

/// The folder whose statements are checked.
const ENGINE: &str = "src/store/sqlite/";

/// Files whose statements finish no delivery, or leave it its place on purpose.
const EXEMPT: [(&str, &str); 2] = [
    (
        "src/store/sqlite/ops/settle_and_claim/claim.rs",
        "to processing",
    ),
    (
        "src/store/sqlite/ops/recover.rs",
        "one that is given up keeps its place, and maintenance decides",
    ),
];

/// Whether a statement may finish or delete deliveries.
fn finishes(sql: &str) -> bool {
    let changes_state = sql
        .split_once("UPDATE deliveries")
        .and_then(|(_, rest)| rest.split_once("SET"))
        .is_some_and(|(_, set)| {
            let set = set.split("WHERE").next().unwrap_or_default();
            set.split(',')
                .any(|one| one.trim_start().starts_with("state ="))
        });
    changes_state || sql.contains("DELETE FROM deliveries") || sql.contains("DELETE FROM intents")
}

/// The statements of a file that finish deliveries and don't heed their lines.
fn heedless(tokens: &[Token]) -> Vec<String> {
    let goes_through = tokens
        .windows(2)
        .any(|two| two[0].is("line") && two[1].is("::"));
    let statements = tokens.iter().filter(|token| token.kind == Kind::Str);
    let found = statements
        .filter(|token| finishes(&token.text))
        .filter(|token| !goes_through && !token.text.contains("place IS NOT NULL"));
    found
        .map(|token| format!("line {}", token.lines.0))
        .collect()
}

#[test]
fn a_statement_that_finishes_a_delivery_heeds_its_line() {
    let code = code_of_src().into_iter();
    let engine = code.filter(|(name, _)| name.starts_with(ENGINE));
    let heeded = engine.filter(|(name, _)| EXEMPT.iter().all(|(file, _)| file != name));
    let found = heeded.map(|(name, tokens)| (name, heedless(&tokens)));
    let found: Found = found.filter(|(_, lines)| !lines.is_empty()).collect();
    check(
        "a statement finishes a delivery, and its file doesn't use ops::line",
        &found,
    );
}

#[test]
fn heedless_statements_are_found() {
    let found = |text: &str| heedless(&crate::source::Source::of(text).tokens).len();
    for text in [
        "tx.execute(\"UPDATE deliveries SET state = ?1, claim = NULL WHERE a\")",
        "tx.execute(\"UPDATE deliveries SET claim = NULL,\n state = 3\")",
        "tx.execute(\"DELETE FROM deliveries WHERE a\")",
        "tx.execute(\"DELETE FROM intents WHERE a\")",
    ] {
        assert_eq!(found(text), 1, "{text}");
        assert_eq!(found(&format!("line::leave(); {text}")), 0, "{text}");
    }
    for text in [
        "tx.execute(\"UPDATE deliveries SET place = NULL WHERE state = 4\")",
        "tx.execute(\"DELETE FROM intents WHERE NOT EXISTS (SELECT 1 WHERE place IS NOT NULL)\")",
        "tx.execute(\"DELETE FROM attempts\")",
    ] {
        assert_eq!(found(text), 0, "{text}");
    }
}
