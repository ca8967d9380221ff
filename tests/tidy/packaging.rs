//! The rules for Prometheus and the dashboard for Grafana: they parse, and they name metrics that
//! are there. The configurations and contents of packages.

use std::collections::BTreeSet;
use std::path::Path;

use relay::Config;
use serde_json::Value;

use crate::{assert_none, text_of};

const RULES: &str = "packaging/prometheus/relay.rules.yml";
const DASHBOARD: &str = "packaging/grafana/relay.json";

/// Suffixes of a histogram's series.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The names of metrics in a text: words that begin with `relay_`.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let names = words.filter(|word| word.len() > "relay_".len() && word.starts_with("relay_"));
    names.map(str::to_owned).collect()
}

/// The metrics that the code has, with the series of histograms.
fn known() -> BTreeSet<String> {
    let text = text_of("src/ops/metrics.rs").expect("the metrics") + &metrics_files();
    let names = metrics_in(&text);
    let series = |name: &String| SERIES.map(|ending| format!("{name}{ending}"));
    names.iter().flat_map(series).chain(names.clone()).collect()
}

fn metrics_files() -> String {
    let files = crate::files("src/ops/metrics", ".rs").into_iter();
    files.map(|(_, text)| text).collect()
}

fn rules() -> Vec<Value> {
    let text = text_of(RULES).expect("the rules");
    let parsed: Value = serde_saphyr::from_str(&text).expect("YAML");
    let groups = parsed["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules").clone());
    rules.collect()
}

/// The expressions of a dashboard's panels and variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if matches!(name.as_str(), "expr" | "query" | "definition") => {
                        found.push(text.to_owned());
                    }
                    _ => expressions(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// Whether brackets and quotes are closed in order: what a parser of expressions finds first.
fn is_balanced(expression: &str) -> bool {
    let (mut open, mut is_text) = (Vec::new(), false);
    for c in expression.chars() {
        match c {
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                let pair = (open.pop(), c);
                if !matches!(pair, (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')) {
                    return false;
                }
            }
            _ => {}
        }
    }
    open.is_empty() && !is_text
}

#[test]
fn rules_and_dashboard_name_metrics_that_are_there() {
    let known = known();
    assert!(known.len() > 30, "{known:?}");
    let dashboard: Value =
        serde_json::from_str(&text_of(DASHBOARD).expect("the dashboard")).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let of_rules = rules().into_iter().map(|rule| {
        let expression = rule["expr"].as_str().expect("an expression");
        expression.to_owned()
    });
    found.extend(of_rules);
    assert!(found.len() > 40, "the expressions are found");
    let mut offences = Vec::new();
    for expression in &found {
        if !is_balanced(expression) {
            offences.push(format!("not balanced: {expression}"));
        }
        let names = metrics_in(expression).into_iter();
        let unknown = names.filter(|name| !known.contains(name));
        offences.extend(unknown.map(|name| format!("{name} in: {expression}")));
    }
    assert_none(&offences, "an expression that Prometheus can't answer");
}

#[test]
fn each_rule_has_a_severity_and_says_what_is_wrong_and_what_to_do() {
    let mut names = BTreeSet::new();
    let mut offences = Vec::new();
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        let severity = rule["labels"]["severity"].as_str();
        if !matches!(severity, Some("warning" | "critical")) {
            offences.push(format!("{name}: severity"));
        }
        for text in ["summary", "description"] {
            if rule["annotations"][text].as_str().is_none_or(str::is_empty) {
                offences.push(format!("{name}: {text}"));
            }
        }
        if !names.insert(name.clone()) {
            offences.push(format!("{name} comes twice"));
        }
    }
    assert!(names.len() > 10, "the rules are found");
    assert_none(&offences, "a rule lacks a part");
}

#[test]
fn each_metric_but_a_few_is_on_the_dashboard() {
    let dashboard = text_of(DASHBOARD).expect("the dashboard");
    let shown = metrics_in(&dashboard);
    let text = text_of("src/ops/metrics.rs").expect("the metrics");
    let missing: Vec<_> = metrics_in(&text)
        .into_iter()
        .filter(|name| {
            let series = SERIES.map(|ending| format!("{name}{ending}"));
            !shown.contains(name) && !series.iter().any(|one| shown.contains(one))
        })
        .collect();
    assert!(missing.len() <= 8, "the dashboard lacks {missing:?}");
}

/// The configuration of a package, as a server would have it.
fn configuration(path: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    Config::load(Some(&path)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_package_s_configuration_opens_no_more_than_it_must() {
    let service = configuration("packaging/relay.toml");
    assert!(service.server.listen.ip().is_loopback());
    assert_eq!(service.database.path, Path::new("/var/lib/relay/relay.db"));
    let container = configuration("packaging/container/relay.toml");
    assert!(container.server.listen.ip().is_unspecified());
    assert_eq!(container.database.path, Path::new("/data/relay.db"));
    for config in [service, container] {
        // Without a token it may be reached by this machine alone.
        let admin = config.admin.listen.expect("the health check asks it");
        assert!(admin.ip().is_loopback());
        assert!(config.destinations.is_empty() && config.sources.is_empty());
    }
}

#[test]
fn packages_hold_the_same_files() {
    let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).expect("TOML");
    let metadata = &manifest["package"]["metadata"];
    let is_text = |value: &toml::Value| value.as_str().map(str::to_owned);
    let assets = |of: &str| metadata[of]["assets"].as_array().expect("assets").clone();
    let deb: BTreeSet<_> = assets("deb")
        .iter()
        .filter_map(|one| is_text(&one[0]))
        .collect();
    let rpm = assets("generate-rpm");
    let rpm: BTreeSet<_> = rpm
        .iter()
        .filter_map(|one| is_text(&one["source"]))
        .collect();
    assert_eq!(deb, rpm);
    assert!(deb.len() > 6, "{deb:?}");
    let outside = |path: &&String| !path.starts_with("target/package/stage/");
    assert_eq!(
        deb.iter().find(outside),
        None,
        "packaging/build lays files out there"
    );
}

#[test]
fn the_unit_starts_relay_again_however_often_it_has_failed() {
    let unit = text_of("packaging/systemd/relay.service").expect("the unit");
    for line in ["StartLimitIntervalSec=0", "Restart=on-failure"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}
