//! The checks of conditions: a line that can never match is refused.

use ::http::HeaderName;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::sections::source::verify::context::{SourceContext, check_template};
use crate::model::request::{Conditions, JsonPointer, Number, Operators, Pattern};

/// Whether a place holds values of every type, or texts only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Any,
    Texts,
}

/// Refuses a line of the conditions that can never match.
pub(super) fn check_conditions(
    key: &str,
    conditions: &Conditions,
    source: &SourceContext<'_>,
) -> Checked {
    for (name, patterns) in &conditions.headers {
        if HeaderName::try_from(name.as_str()).is_err() {
            let headers = format!("{key}.headers");
            return bad(&headers, quoted(name), "the name of an HTTP header");
        }
        check_line(&format!("{key}.headers.{name}"), patterns, Values::Texts)?;
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
        Pattern::Text(_) => return Ok(()),
        Pattern::Operators(operators) => return check_operators(key, operators, values),
        Pattern::Number(Number::Integer(number)) => number.to_string(),
        Pattern::Number(Number::Float(number)) => number.to_string(),
        Pattern::Bool(value) => value.to_string(),
    };
    match values {
        Values::Any => Ok(()),
        Values::Texts => bad(
            key,
            shown,
            "a text: headers and queries have no other values",
        ),
    }
}

fn check_operators(key: &str, operators: &Operators, values: Values) -> Checked {
    if *operators == Operators::default() {
        return bad(key, "{}", "an operator such as prefix or exists");
    }
    if let (Some(min), Some(max)) = (operators.min, operators.max)
        && min.as_float() > max.as_float()
    {
        return bad(key, "min", "at most max");
    }
    if values == Values::Texts && (operators.min.is_some() || operators.max.is_some()) {
        return bad(
            key,
            "min and max",
            "a text: headers and queries have no numbers",
        );
    }
    if operators.exists == Some(false) && !operators.only_exists() {
        return bad(key, "exists = false", "no other operator: it wants a value");
    }
    match &operators.not {
        Some(not) => check_line(&format!("{key}.not"), &not.0, values),
        None => Ok(()),
    }
}
