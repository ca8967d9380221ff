//! The checks of conditions: a line that can never match is refused.

use std::collections::HashSet;

use ::http::HeaderName;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::sections::source::verify::context::{SourceContext, check_template};
use crate::model::request::{Conditions, JsonPointer, Operators, Part, Pattern, Template};

/// The values that a place holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Values of every type.
    Any,
    /// Texts.
    Texts,
    /// Texts without blanks around them and without control characters but tabs.
    HeaderTexts,
}

/// Refuses a line of the conditions that can never match.
pub(super) fn check_conditions(
    key: &str,
    conditions: &Conditions,
    source: &SourceContext<'_>,
) -> Checked {
    let mut seen = HashSet::new();
    for (name, patterns) in &conditions.headers {
        let headers = format!("{key}.headers");
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            return bad(&headers, quoted(name), "the name of an HTTP header");
        };
        if !seen.insert(header) {
            return bad(&headers, quoted(name), "each header once");
        }
        check_line(&format!("{headers}.{name}"), patterns, Values::HeaderTexts)?;
    }
    for (name, patterns) in &conditions.query {
        check_line(&format!("{key}.query.{name}"), patterns, Values::Texts)?;
    }
    for (pointer, patterns) in &conditions.body {
        if JsonPointer::parse(pointer).is_none() {
            let body = format!("{key}.body");
            return bad(&body, quoted(pointer), "a JSON pointer such as \"/id\"");
        }
        check_line(&format!("{key}.body.{pointer}"), patterns, Values::Any)?;
    }
    for template in conditions.templates() {
        check_template(key, template, false, source)?;
    }
    Ok(())
}

fn check_line(key: &str, patterns: &[Pattern], values: Values) -> Checked {
    if patterns.is_empty() {
        return bad(key, "[]", "at least one value");
    }
    for pattern in patterns {
        check_pattern(key, pattern, values)?;
    }
    Ok(())
}

fn check_pattern(key: &str, pattern: &Pattern, values: Values) -> Checked {
    let shown = match pattern {
        Pattern::Text(text) => return check_text(key, text, values),
        Pattern::Operators(operators) => return check_operators(key, operators, values),
        Pattern::Number(number) => number.to_string(),
        Pattern::Bool(value) => value.to_string(),
    };
    match values {
        Values::Any => Ok(()),
        Values::Texts | Values::HeaderTexts => bad(
            key,
            shown,
            "a text: headers and queries have no other values",
        ),
    }
}

fn check_text(key: &str, text: &Template, values: Values) -> Checked {
    if values != Values::HeaderTexts {
        return Ok(());
    }
    let is_blank = |c: char| matches!(c, ' ' | '\t');
    let mut texts = text.parts().iter().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        _ => None,
    });
    // A part of the request may be empty, so that only the ends of the whole tell.
    let is_value = !text.as_str().starts_with(is_blank)
        && !text.as_str().ends_with(is_blank)
        && !texts.any(|text| text.chars().any(|c| c.is_ascii_control() && c != '\t'));
    if is_value {
        return Ok(());
    }
    let expected = "a text that a header can have: without blanks around it and control characters";
    bad(key, quoted(text.as_str()), expected)
}

fn check_operators(key: &str, operators: &Operators, values: Values) -> Checked {
    if *operators == Operators::default() {
        return bad(key, "{}", "an operator such as prefix or exists");
    }
    if let (Some(min), Some(max)) = (&operators.min, &operators.max)
        && min > max
    {
        return bad(key, "min", "at most max");
    }
    let wants_number = operators.min.is_some() || operators.max.is_some();
    if values != Values::Any && wants_number {
        return bad(
            key,
            "min and max",
            "a text: headers and queries have no numbers",
        );
    }
    if wants_number && operators.wants_text() {
        let expected = "operators of texts or of numbers: no value is both";
        return bad(key, "min or max", expected);
    }
    if operators.exists == Some(false) && !operators.only_exists() {
        return bad(key, "exists = false", "no other operator: it wants a value");
    }
    check_same_text(key, operators)?;
    match &operators.not {
        Some(not) => check_line(&format!("{key}.not"), &not.0, values),
        None => Ok(()),
    }
}

/// The whole text of `equals_ignore_case` agrees with what it begins with, ends with and holds.
fn check_same_text(key: &str, operators: &Operators) -> Checked {
    let Some(whole) = &operators.equals_ignore_case else {
        return Ok(());
    };
    let agrees = |part: &Option<String>, holds: fn(&str, &str) -> bool| {
        let part = part.as_ref().map(|part| part.to_ascii_lowercase());
        part.is_none_or(|part| holds(&whole.to_ascii_lowercase(), &part))
    };
    if agrees(&operators.prefix, |whole, part| whole.starts_with(part))
        && agrees(&operators.suffix, |whole, part| whole.ends_with(part))
        && agrees(&operators.contains, |whole, part| whole.contains(part))
    {
        return Ok(());
    }
    let expected = "an equals_ignore_case that has the prefix, the suffix and the contents";
    bad(key, quoted(whole), expected)
}
