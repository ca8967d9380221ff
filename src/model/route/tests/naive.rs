//! A naive matcher of random routes and random documents, and the real one beside it. The naive one
//! walks a tree with recursion, and knows the value of each number because it made it.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::document;
use crate::model::route::{Route, RouteTable, RoutedEvent, Verdict};

/// A document as a tree.
#[derive(Clone, Debug)]
enum Json {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
    Array(Vec<Json>),
    /// Members may be repeated.
    Object(Vec<(String, Json)>),
}

/// `mantissa` × 10^`exponent`, written in one of several ways.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    mantissa: i64,
    exponent: i32,
    spelling: u8,
}

/// A pattern of a route.
#[derive(Clone, Debug)]
enum Pattern {
    Text(String),
    Number(Decimal),
    Bool(bool),
    Operators(Vec<Operator>),
}

#[derive(Clone, Debug)]
enum Operator {
    Min(Decimal),
    Max(Decimal),
    Prefix(String),
    Suffix(String),
    Contains(String),
    IgnoreCase(String),
    Exists(bool),
    Not(Vec<Pattern>),
}

/// A line by a pointer, given as its tokens.
type Line = (Vec<&'static str>, Vec<Pattern>);

/// The lines of a route by the body, and the types that it wants, if it does.
type When = (Option<Vec<String>>, Vec<Line>);

const NAMES: [&str; 7] = ["a", "b", "0", "1", "a/b", "~", "ä"];

impl Decimal {
    /// The value in units of 10^-4.
    fn value(self) -> i128 {
        let scale = u32::try_from(self.exponent + 4).expect("it is at least -4");
        i128::from(self.mantissa) * 10_i128.pow(scale)
    }

    /// In JSON, which is TOML, too.
    fn text(self) -> String {
        let Self {
            mantissa, exponent, ..
        } = self;
        match self.spelling {
            0 => format!("{mantissa}e{exponent}"),
            1 => format!("{mantissa}.000E{exponent:+}"),
            // TOML has no leading zeros.
            2 if mantissa != 0 => format!("{mantissa}00e{}", exponent - 2),
            _ if exponent >= 0 => {
                let whole = i128::from(mantissa) * 10_i128.pow(exponent.unsigned_abs());
                whole.to_string()
            }
            _ => format!("{mantissa}.0e{exponent}"),
        }
    }
}

impl Json {
    fn write(&self, to: &mut String, escapes: bool) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(value) => to.push_str(&value.to_string()),
            Self::Number(number) => to.push_str(&number.text()),
            Self::Text(text) => quote(text, to, escapes),
            Self::Array(elements) => {
                to.push('[');
                for (at, element) in elements.iter().enumerate() {
                    to.push_str(if at == 0 { " " } else { " ,\n" });
                    element.write(to, escapes);
                }
                to.push(']');
            }
            Self::Object(members) => {
                to.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    to.push_str(if at == 0 { "" } else { ",\t" });
                    // Half of the names are escaped, so that equal ones differ as bytes.
                    quote(name, to, escapes ^ (at % 2 == 0));
                    to.push_str(" : ");
                    value.write(to, escapes);
                }
                to.push_str(" }");
            }
        }
    }

    /// The value at the tokens of a pointer.
    fn at(&self, tokens: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = tokens.split_first() else {
            return Some(self);
        };
        match self {
            Self::Object(members) => {
                let mut members = members.iter().rev();
                members.find(|(name, _)| name == first)?.1.at(rest)
            }
            Self::Array(elements) => elements.get(first.parse::<usize>().ok()?)?.at(rest),
            _ => None,
        }
    }
}

fn quote(text: &str, to: &mut String, escapes: bool) {
    to.push('"');
    for unit in text.encode_utf16() {
        if escapes || unit < 0x20 || unit == u16::from(b'"') || unit == u16::from(b'\\') {
            write!(to, "\\u{unit:04x}").expect("a text takes more text");
        } else {
            to.push(char::from_u32(u32::from(unit)).expect("no surrogate"));
        }
    }
    to.push('"');
}

impl Pattern {
    fn matches(&self, value: Option<&Json>) -> bool {
        match (self, value) {
            (Self::Text(expected), Some(Json::Text(found))) => expected == found,
            (Self::Number(expected), Some(Json::Number(found))) => {
                expected.value() == found.value()
            }
            (Self::Bool(expected), Some(Json::Bool(found))) => expected == found,
            (Self::Operators(all), Some(value)) => all.iter().all(|one| one.holds(value)),
            (Self::Operators(all), None) => matches!(all[..], [Operator::Exists(false)]),
            _ => false,
        }
    }

    fn toml(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Number(number) => number.text(),
            Self::Bool(value) => value.to_string(),
            Self::Operators(all) => {
                let all: Vec<_> = all.iter().map(Operator::toml).collect();
                format!("{{ {} }}", all.join(", "))
            }
        }
    }
}

impl Operator {
    fn holds(&self, value: &Json) -> bool {
        match (self, value) {
            (Self::Min(bound), Json::Number(found)) => found.value() >= bound.value(),
            (Self::Max(bound), Json::Number(found)) => found.value() <= bound.value(),
            (Self::Prefix(part), Json::Text(text)) => text.starts_with(part),
            (Self::Suffix(part), Json::Text(text)) => text.ends_with(part),
            (Self::Contains(part), Json::Text(text)) => text.contains(part),
            (Self::IgnoreCase(other), Json::Text(text)) => text.eq_ignore_ascii_case(other),
            (Self::Exists(exists), _) => *exists,
            (Self::Not(patterns), value) => !patterns.iter().any(|one| one.matches(Some(value))),
            _ => false,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Min(_) => "min",
            Self::Max(_) => "max",
            Self::Prefix(_) => "prefix",
            Self::Suffix(_) => "suffix",
            Self::Contains(_) => "contains",
            Self::IgnoreCase(_) => "equals_ignore_case",
            Self::Exists(_) => "exists",
            Self::Not(_) => "not",
        }
    }

    fn toml(&self) -> String {
        let value = match self {
            Self::Min(number) | Self::Max(number) => number.text(),
            Self::Prefix(text)
            | Self::Suffix(text)
            | Self::Contains(text)
            | Self::IgnoreCase(text) => format!("{text:?}"),
            Self::Exists(exists) => exists.to_string(),
            Self::Not(patterns) => {
                let all: Vec<_> = patterns.iter().map(Pattern::toml).collect();
                format!("[{}]", all.join(", "))
            }
        };
        format!("{} = {value}", self.name())
    }
}

/// Whether a route wants an event.
fn wants(when: &When, event_type: Option<&str>, body: &Json) -> bool {
    let (types, lines) = when;
    let type_matches = |types: &Vec<String>| {
        let Some(found) = event_type else {
            return false;
        };
        types.iter().any(|wanted| match wanted.split_once('*') {
            Some((prefix, _)) => found.len() >= prefix.len() && found[..prefix.len()] == *prefix,
            None => found == wanted,
        })
    };
    types.as_ref().is_none_or(type_matches)
        && lines.iter().all(|(tokens, patterns)| {
            let value = body.at(tokens);
            patterns.iter().any(|pattern| pattern.matches(value))
        })
}

fn pointer(tokens: &[&str]) -> String {
    tokens.iter().fold(String::new(), |pointer, token| {
        pointer + "/" + &token.replace('~', "~0").replace('/', "~1")
    })
}

fn toml(whens: &[When]) -> String {
    let mut text = String::new();
    for (at, (types, lines)) in whens.iter().enumerate() {
        writeln!(text, "[[routes]]\nto = [\"d{at}\", \"shared\"]").expect("a text");
        if let Some(types) = types {
            writeln!(text, "when.type = {types:?}").expect("a text");
        }
        for (tokens, patterns) in lines {
            let patterns: Vec<_> = patterns.iter().map(Pattern::toml).collect();
            let (pointer, patterns) = (pointer(tokens), patterns.join(", "));
            writeln!(text, "when.body.{pointer:?} = [{patterns}]").expect("a text");
        }
    }
    text
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[abAB]{0,3}", "[aä\"\\\\{]{0,2}"]
}

fn decimals() -> impl Strategy<Value = Decimal> {
    let near = (-30_i64..30, -3_i32..3, 0_u8..4);
    // Beyond the range in which a floating-point number tells two integers apart.
    let large = (
        9_007_199_254_740_990_i64..9_007_199_254_740_996,
        Just(0),
        Just(3_u8),
    );
    prop_oneof![3 => near, 1 => large].prop_map(|(mantissa, exponent, spelling)| Decimal {
        mantissa,
        exponent,
        spelling,
    })
}

fn documents() -> impl Strategy<Value = Json> {
    let scalars = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        decimals().prop_map(Json::Number),
        texts().prop_map(Json::Text),
    ];
    let names = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    scalars.prop_recursive(5, 60, 6, move |inner| {
        let members = prop::collection::vec((names.clone(), inner.clone()), 0..6);
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(Json::Array),
            3 => members.prop_map(Json::Object),
        ]
    })
}

fn operators(plain: BoxedStrategy<Pattern>) -> impl Strategy<Value = Vec<Operator>> {
    let one = prop_oneof![
        decimals().prop_map(Operator::Min),
        decimals().prop_map(Operator::Max),
        texts().prop_map(Operator::Prefix),
        texts().prop_map(Operator::Suffix),
        texts().prop_map(Operator::Contains),
        texts().prop_map(Operator::IgnoreCase),
        any::<bool>().prop_map(Operator::Exists),
        prop::collection::vec(plain, 1..4).prop_map(Operator::Not),
    ];
    prop::collection::vec(one, 1..4).prop_map(|mut all| {
        // A key stands once in a table.
        all.sort_by_key(Operator::name);
        all.dedup_by_key(|one| one.name());
        all
    })
}

fn patterns() -> impl Strategy<Value = Pattern> {
    let plain = prop_oneof![
        texts().prop_map(Pattern::Text),
        decimals().prop_map(Pattern::Number),
        any::<bool>().prop_map(Pattern::Bool),
    ]
    .boxed();
    prop_oneof![plain.clone(), operators(plain).prop_map(Pattern::Operators),]
}

fn whens() -> impl Strategy<Value = When> {
    let types = prop::collection::vec("[ab]{0,2}[*]?", 1..3);
    let tokens = prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4);
    let line = (tokens, prop::collection::vec(patterns(), 1..4));
    let lines = prop::collection::vec(line, 0..3).prop_map(|mut lines: Vec<Line>| {
        lines.sort_by_key(|(tokens, _)| pointer(tokens));
        lines.dedup_by_key(|(tokens, _)| pointer(tokens));
        lines
    });
    (prop::option::weighted(0.3, types), lines)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_routes_and_documents_are_matched_as_by_a_naive_matcher(
        whens in prop::collection::vec(whens(), 1..5),
        body in documents(),
        event_type in prop::option::of("[ab]{1,3}"),
        escapes in any::<bool>(),
    ) {
        let text = toml(&whens);
        let routes: Vec<Route> = super::routes(&text);
        let table = RouteTable::new([].into(), &routes);
        let mut json = String::new();
        body.write(&mut json, escapes);
        let event = RoutedEvent {
            event_type: event_type.as_deref(),
            headers: b"",
            document: Some(document(&json)),
        };
        let wanted = table.route(&event);
        let verdicts = table.explain(&event);
        for (at, when) in whens.iter().enumerate() {
            let expected = wants(when, event_type.as_deref(), &body);
            let name = format!("d{at}");
            prop_assert_eq!(wanted.contains(&name), expected, "{}\n{}", text, json);
            let mut verdicts = verdicts.iter();
            let verdict = verdicts.find(|verdict| verdict.destination == name);
            prop_assert_eq!(verdict.map(Verdict::is_wanted), Some(expected));
        }
        let any = whens.iter().any(|when| wants(when, event_type.as_deref(), &body));
        let shared = wanted.iter().filter(|name| *name == "shared").count();
        prop_assert_eq!(shared, usize::from(any));
    }

    #[test]
    fn any_bytes_are_passed_over(text in ".{0,60}", tokens in "(/[a01~]{0,2}){1,4}") {
        use crate::model::request::JsonPointer;
        let mut tree = crate::model::route::body::PointerTree::new();
        let node = JsonPointer::parse(&tokens).map(|pointer| tree.add(&pointer));
        let places = tree.find(&text);
        if let Some(node) = node {
            places.value(node);
        }
    }
}
