//! The checks of the values of a route's line: one that matches nothing is refused.

use std::cmp::Ordering;

use crate::config::rules::{Checked, bad};
use crate::model::route::{Number, OneOrMany, RouteOperators, RoutePattern};

/// Whether a place holds values of every type, or texts only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Any,
    Texts,
}

/// Each value can match, and stands once.
pub(super) fn check_values(
    key: &str,
    patterns: &[RoutePattern],
    values: Values,
    most: usize,
) -> Checked {
    for (at, pattern) in patterns.iter().enumerate() {
        check_pattern(key, pattern, values, most)?;
        if patterns[..at].contains(pattern) {
            return bad(key, pattern, "each value once");
        }
    }
    Ok(())
}

fn check_pattern(key: &str, pattern: &RoutePattern, values: Values, most: usize) -> Checked {
    match pattern {
        RoutePattern::Operators(operators) => check_operators(key, operators, values, most),
        RoutePattern::Text(text) if values == Values::Texts => check_header_text(key, text),
        RoutePattern::Number(_) | RoutePattern::Bool(_) if values == Values::Texts => {
            bad(key, pattern, "a text: headers have no other values")
        }
        _ => Ok(()),
    }
}

/// A header's value has no blanks around it, and no control characters but tabs.
fn check_header_text(key: &str, text: &str) -> Checked {
    if is_header_text(text) && !text.starts_with(is_blank) && !text.ends_with(is_blank) {
        return Ok(());
    }
    bad(key, format!("{text:?}"), HEADER_TEXT)
}

const HEADER_TEXT: &str =
    "a text that a header can have: without blanks around it and control characters";

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_header_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_ascii_control() && c != '\t')
}

/// The same of the parts of a header's value that operators want.
fn check_header_parts(key: &str, operators: &RouteOperators) -> Checked {
    let has =
        |part: &Option<String>, is_wrong: fn(&str) -> bool| part.as_deref().is_some_and(is_wrong);
    let is_wrong = has(&operators.prefix, |text| {
        !is_header_text(text) || text.starts_with(is_blank)
    }) || has(&operators.suffix, |text| {
        !is_header_text(text) || text.ends_with(is_blank)
    }) || has(&operators.contains, |text| !is_header_text(text));
    if is_wrong {
        return bad(key, operators, HEADER_TEXT);
    }
    match &operators.equals_ignore_case {
        Some(whole) => check_header_text(key, whole),
        None => Ok(()),
    }
}

fn check_operators(key: &str, operators: &RouteOperators, values: Values, most: usize) -> Checked {
    if *operators == RouteOperators::default() {
        return bad(key, "{}", "an operator such as prefix or exists");
    }
    if let (Some(min), Some(max)) = (&operators.min, &operators.max)
        && min > max
    {
        return bad(
            key,
            format!("min = {min}, max = {max}"),
            "min of at most max",
        );
    }
    if values == Values::Texts && operators.wants_number() {
        let expected = "no min or max: headers have texts and no numbers";
        return bad(key, operators, expected);
    }
    if values == Values::Texts {
        check_header_parts(key, operators)?;
    }
    if operators.wants_text() && operators.wants_number() {
        let expected = "operators of texts or of numbers: no value is both";
        return bad(key, operators, expected);
    }
    if operators.exists == Some(false) && !operators.has_only_exists() {
        let expected = "no operator beside exists = false: each wants a value";
        return bad(key, operators, expected);
    }
    check_same_text(key, operators)?;
    match &operators.not {
        Some(not) => check_not(key, operators, not, values, most),
        None => Ok(()),
    }
}

/// The whole text of `equals_ignore_case` agrees with what it begins with, ends with and holds.
fn check_same_text(key: &str, operators: &RouteOperators) -> Checked {
    let Some(whole) = &operators.equals_ignore_case else {
        return Ok(());
    };
    let whole = whole.to_ascii_lowercase();
    let agrees = |part: &Option<String>, holds: fn(&str, &str) -> bool| {
        let part = part.as_ref().map(|part| part.to_ascii_lowercase());
        part.is_none_or(|part| holds(&whole, &part))
    };
    let agrees = agrees(&operators.prefix, |whole, part| whole.starts_with(part))
        && agrees(&operators.suffix, |whole, part| whole.ends_with(part))
        && agrees(&operators.contains, |whole, part| whole.contains(part));
    if agrees {
        return Ok(());
    }
    bad(key, operators, "operators that one text can satisfy")
}

fn check_not(
    key: &str,
    operators: &RouteOperators,
    not: &OneOrMany,
    values: Values,
    most: usize,
) -> Checked {
    let not_key = format!("{key}.not");
    if not.0.is_empty() {
        return bad(&not_key, "[]", "at least one value");
    }
    if not.0.len() > most {
        let found = format!("{} values", not.0.len());
        return bad(&not_key, found, &format!("at most {most}"));
    }
    check_values(&not_key, &not.0, values, most)?;
    for pattern in &not.0 {
        if let RoutePattern::Operators(inner) = pattern
            && inner.not.is_some()
        {
            return bad(&not_key, pattern, "no not within a not");
        }
        if is_implied(pattern, operators) {
            return bad(
                &not_key,
                pattern,
                "a value that the other operators leave open",
            );
        }
    }
    Ok(())
}

/// Whether every value that the operators allow, apart from `not`, matches a pattern. Sees only
/// plain cases.
fn is_implied(pattern: &RoutePattern, operators: &RouteOperators) -> bool {
    let is_at = |bound: &Option<Number>, number: &Number| {
        let ordering = bound.as_ref().and_then(|bound| bound.partial_cmp(number));
        ordering == Some(Ordering::Equal)
    };
    match pattern {
        RoutePattern::Number(number) => {
            is_at(&operators.min, number) && is_at(&operators.max, number)
        }
        RoutePattern::Operators(inner) => {
            let is_wider = |inner: &Option<Number>,
                            outer: &Option<Number>,
                            holds: fn(&Number, &Number) -> bool| {
                let Some(inner) = inner else { return true };
                outer.as_ref().is_some_and(|outer| holds(inner, outer))
            };
            inner.exists != Some(false)
                && is_wider(&inner.min, &operators.min, Number::le)
                && is_wider(&inner.max, &operators.max, Number::ge)
                && is_text_implied(inner, operators)
        }
        // A whole without letters is spelled in one way only.
        RoutePattern::Text(text) => {
            let whole = operators.equals_ignore_case.as_ref();
            whole == Some(text) && has_no_case(text)
        }
        RoutePattern::Bool(_) => false,
    }
}

/// Whether every text that the operators allow, apart from `not`, has the parts that `inner` wants.
fn is_text_implied(inner: &RouteOperators, operators: &RouteOperators) -> bool {
    let whole = operators.equals_ignore_case.as_deref();
    // A part of the whole is known as far as it has no case.
    let of_whole = |part: &str, holds: fn(&str, &str) -> bool| {
        has_no_case(part) && whole.is_some_and(|whole| holds(whole, part))
    };
    let of = |known: &Option<String>, part: &str, holds: fn(&str, &str) -> bool| {
        known.as_deref().is_some_and(|known| holds(known, part))
    };
    let begins = |part: &str| {
        of(&operators.prefix, part, |known, part| {
            known.starts_with(part)
        }) || of_whole(part, |whole, part| whole.starts_with(part))
    };
    let ends = |part: &str| {
        of(&operators.suffix, part, |known, part| known.ends_with(part))
            || of_whole(part, |whole, part| whole.ends_with(part))
    };
    let has = |part: &str| {
        let known = [&operators.prefix, &operators.suffix, &operators.contains];
        let mut known = known.into_iter().flatten();
        known.any(|known| known.contains(part))
            || of_whole(part, |whole, part| whole.contains(part))
    };
    let is_implied = |part: &Option<String>, is_known: &dyn Fn(&str) -> bool| {
        let Some(part) = part else { return true };
        is_known(part) || (part.is_empty() && operators.wants_text())
    };
    is_implied(&inner.prefix, &begins)
        && is_implied(&inner.suffix, &ends)
        && is_implied(&inner.contains, &has)
        && inner
            .equals_ignore_case
            .as_deref()
            .is_none_or(|inner| whole.is_some_and(|whole| whole.eq_ignore_ascii_case(inner)))
}

/// Whether a text has no letter that `equals_ignore_case` takes in two forms.
fn has_no_case(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests;
