//! Routes: the errors of those that no event can take, and the ones that are allowed.

use std::fmt::Write as _;

use super::load;
use crate::config::{Config, EventTypeAt, StoredEvent};
use crate::model::request::document;

/// Two destinations, and a source that begins with these keys.
fn file(source: &str) -> String {
    format!(
        "[destinations.a]\nurl='http://x/'\n[destinations.b]\nurl='http://y/'\n\
         [sources.s]\nevent_type={{header='X-Event'}}\n{source}"
    )
}

/// The error of a source with one route to `a`.
fn error_of(when: &str) -> String {
    let text = file(&format!("[[sources.s.routes]]\nto=['a']\n{when}"));
    load(&text, &[]).expect_err(when)
}

fn load_source(source: &str) -> Config {
    load(&file(source), &[]).unwrap_or_else(|error| panic!("{source}\n{error}"))
}

#[test]
fn a_route_that_no_event_can_take_is_refused() {
    for (when, expected) in [
        (
            "",
            "when: {}: expected type, headers or body; a destination of every event stands in",
        ),
        ("when.type=[]", "when.type: []: expected at least one value"),
        (
            "when.type=['a*b']",
            "when.type: \"a*b\": expected \"*\" as the last character only",
        ),
        (
            "when.type=['**']",
            "when.type: \"**\": expected \"*\" as the last character only",
        ),
        (
            "when.type=['a b']",
            "when.type: \"a b\": expected a type, of 1 to 128 visible ASCII",
        ),
        ("when.type=['']", "when.type: \"\": expected a type"),
        (
            "when.type=['a','a']",
            "when.type: \"a\": expected each value once",
        ),
        (
            "when.type='a'",
            "when.type: invalid type: string \"a\", expected a list",
        ),
        (
            "when.headers.'X A'=['a']",
            "when.headers: \"X A\": expected the name of an HTTP header",
        ),
        (
            "when.headers.Host=['a']",
            "when.headers: \"Host\": expected a header that is kept",
        ),
        (
            "when.headers.User-Agent=['a']",
            "\"User-Agent\": expected a header that is kept",
        ),
        (
            "when.headers.Authorization=['a']",
            "\"Authorization\": expected a header that is kept",
        ),
        (
            "when.headers.Relay-Query=['a']",
            "\"Relay-Query\": expected a header that is kept",
        ),
        (
            "when.headers.X-A=['a']\nwhen.headers.x-a=['b']",
            "\"x-a\": expected each header once",
        ),
        (
            "when.headers.X-A=[]",
            "when.headers.X-A: []: expected at least one value",
        ),
        (
            "when.headers.X-A=[1]",
            "X-A: 1: expected a text: headers have no other values",
        ),
        (
            "when.headers.X-A=[true]",
            "X-A: true: expected a text: headers have no other",
        ),
        (
            "when.headers.X-A=[{min=1}]",
            "X-A: { min = 1 }: expected no min or max",
        ),
        (
            "when.headers.X-A=[{not=1}]",
            "X-A.not: 1: expected a text: headers have no other",
        ),
        (
            "when.headers.X-A=['a ']",
            "X-A: \"a \": expected a text that a header can have",
        ),
        (
            "when.headers.X-A=[{}]",
            "X-A: {}: expected an operator such as prefix or exists",
        ),
        (
            "when.body.id=['a']",
            "when.body: \"id\": expected a JSON pointer such as \"/id\"",
        ),
        (
            "when.body.''=['a']",
            "when.body: \"\": expected a JSON pointer such as \"/id\"",
        ),
        (
            "when.body.'/a~2'=['a']",
            "when.body: \"/a~2\": expected a JSON pointer",
        ),
        (
            "when.body.'/a'=[]",
            "when.body./a: []: expected at least one value",
        ),
        (
            "when.body.'/a'='x'",
            "when.body./a: invalid type: string \"x\", expected a list",
        ),
        (
            "when.body.'/a'=[['x']]",
            "expected a text, a number, true, false, or a table such as",
        ),
        (
            "when.body.'/a'=[inf]",
            "when.body./a[0]: inf: expected a finite number",
        ),
        (
            "when.body.'/a'=[{mim=1}]",
            "unknown field `mim`, expected one of `min`, `max`",
        ),
        (
            "when.body.'/a'=[1979-05-27]",
            "when.body./a[0]: invalid type: a date or a time, expected another type: in quotes",
        ),
        (
            "when.body.'/a'=[{not={mim=1}}]",
            "unknown field `mim`, expected one of `min`, `max`",
        ),
        (
            "when.body.'/a'=[{not=[{min='1'}]}]",
            "invalid type: string \"1\", expected a number",
        ),
        (
            "when.body.'/a'=[{min=2,max=1.5}]",
            "min = 2, max = 1.5: expected min of at most max",
        ),
        (
            "when.body.'/a'=[{min=1,prefix='a'}]",
            "expected operators of texts or of numbers",
        ),
        (
            "when.body.'/a'=[{exists=false,max=1}]",
            "expected no operator beside exists = false",
        ),
        (
            "when.body.'/a'=[{equals_ignore_case='Ab',prefix='b'}]",
            "expected operators that one text can satisfy",
        ),
        (
            "when.body.'/a'=[{not=[]}]",
            "when.body./a.not: []: expected at least one value",
        ),
        (
            "when.body.'/a'=[{not={not=1}}]",
            "expected no not within a not",
        ),
        (
            "when.body.'/a'=[{prefix='a',not={prefix='a'}}]",
            "/a.not: { prefix = \"a\" }: expected a value that the other operators leave open",
        ),
        (
            "when.body.'/a'=[{not={exists=true}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[{min=1,max=1.0,not=1}]",
            "not: 1: expected a value that the other",
        ),
        (
            "when.body.'/a'=[{min=5,not={min=3}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[1,1.0]",
            "when.body./a: 1.0: expected each value once",
        ),
        (
            "when.body.'/a'=['x']\nwhen.body.'/a/b'=['y']",
            "when.body./a/b: contradicts sources.s.routes[0].when.body./a",
        ),
        (
            "when.body.'/a'=[{exists=false}]\nwhen.body.'/a/b/c'=[{not='y'}]",
            "when.body./a/b/c: contradicts sources.s.routes[0].when.body./a",
        ),
        (
            "when.body.'/a'=[{prefix='ab',not={prefix='a'}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[{suffix='bc',contains='x',not={suffix='c',contains='b'}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[{equals_ignore_case='aB',not={equals_ignore_case='Ab'}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[{equals_ignore_case='1-2',not=['x','1-2']}]",
            "/a.not: \"1-2\": expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[{equals_ignore_case='a-1',not={contains='-'}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.body.'/a'=[{contains='x',not={prefix=''}}]",
            "expected a value that the other operators leave",
        ),
        (
            "when.headers.X-A=[{prefix=' a'}]",
            "X-A: { prefix = \" a\" }: expected a text that a header can have",
        ),
        (
            "when.headers.X-A=[{suffix=\"a\\t\"}]",
            "expected a text that a header can have",
        ),
        (
            "when.headers.X-A=[{contains=\"a\\nb\"}]",
            "expected a text that a header can have",
        ),
        (
            "when.headers.X-A=[{equals_ignore_case='a '}]",
            "X-A: \"a \": expected a text that a header can have",
        ),
        (
            "when.type=['a','b.*']\nwhen.headers.x-event=['b',{not=['a'],prefix='c'}]",
            "when.headers.x-event: contradicts sources.s.routes[0].when.type",
        ),
        (
            "when.type=['*']\nwhen.headers.X-Event=[{exists=false}]",
            "when.headers.X-Event: contradicts sources.s.routes[0].when.type",
        ),
        (
            "when.query.a=['x']",
            "unknown field `query`, expected one of `type`, `headers`, `body`",
        ),
    ] {
        let error = error_of(when);
        assert!(
            error.contains(expected),
            "{when}\n  gave {error}\n  not  {expected}"
        );
        // A value of the wrong type is on line 9; the checks know no lines.
        let place = error
            .trim_start_matches("relay.toml")
            .trim_start_matches(":9");
        assert!(place.starts_with(": sources.s.routes[0].when"), "{error}");
    }
}

#[test]
fn a_route_that_leads_nowhere_or_repeats_another_is_refused() {
    let route = |to: &str, when: &str| format!("[[sources.s.routes]]\nto={to}\nwhen.{when}\n");
    for (source, expected) in [
        (
            String::new(),
            "sources.s.destinations: []: expected at least one destination",
        ),
        (
            route("[]", "type=['a']"),
            "routes[0].to: []: expected at least one destination",
        ),
        (
            route("['c']", "type=['a']"),
            "sources.s.routes[0].to: \"c\": expected the name of a [destinations.…] section",
        ),
        (
            route("['a','a']", "type=['a']"),
            "routes[0].to: \"a\": expected each destination once",
        ),
        (
            "[[sources.s.routes]]\nwhen.type=['a']".to_owned(),
            "missing field `to`",
        ),
        (
            route("['a']", "type=['a','b']") + &route("['a']", "type=['b','a']"),
            "sources.s.routes[1]: repeats sources.s.routes[0]: expected another when, or to",
        ),
        (
            route("['a']", "headers.X-A=['a']") + &route("['a','b']", "headers.x-a=['a']"),
            "sources.s.routes[1]: repeats sources.s.routes[0]",
        ),
        (
            route("['b']", "body.'/a'=[1,2]") + &route("['b']", "body.'/a'=[2.0,1e0]"),
            "sources.s.routes[1]: repeats sources.s.routes[0]",
        ),
    ] {
        let error = load(&file(&source), &[]).expect_err(&source);
        assert!(
            error.contains(expected),
            "{source}\n  gave {error}\n  not  {expected}"
        );
    }
    let untyped = file(&route("['a']", "type=['a']")).replace("event_type={header='X-Event'}", "");
    let error = load(&untyped, &[]).expect_err("there is no event_type");
    let expected = "sources.s.routes[0].when.type: [\"a\"]: expected sources.s.event_type, too";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_type_in_the_body_and_a_line_for_its_place_agree() {
    let source = |when: &str| {
        let route = format!("[[sources.s.routes]]\nto=['a']\n{when}");
        file(&route).replace("{header='X-Event'}", "{json_pointer='/type'}")
    };
    for when in [
        "when.type=['a']\nwhen.body.'/type'=['b',{not='a'}]",
        "when.type=['a.*']\nwhen.body.'/type'=['a',{exists=false}]",
        "when.type=['5']\nwhen.body.'/type'=[6,true]",
    ] {
        let error = load(&source(when), &[]).expect_err(when);
        let expected = "when.body./type: contradicts sources.s.routes[0].when.type";
        assert!(error.contains(expected), "{when}\n  gave {error}");
    }
    // A number's text is a type, too.
    for when in [
        "when.type=['5']\nwhen.body.'/type'=[5]",
        "when.type=['5']\nwhen.body.'/type'=[{not='5'}]",
        "when.type=['true']\nwhen.body.'/type'=[true]",
        "when.type=['a']\nwhen.body.'/other'=['b']",
    ] {
        load(&source(when), &[]).unwrap_or_else(|error| panic!("{when}\n{error}"));
    }
}

#[test]
fn routes_lines_and_values_are_bounded() {
    let many = |range: std::ops::Range<usize>, one: &dyn Fn(usize) -> String| -> String {
        range.map(one).collect()
    };
    let route = |at: usize| format!("[[sources.s.routes]]\nto=['a']\nwhen.type=['t{at}']\n");
    let line = |at: usize| format!("when.body.'/{at}'=[1]\n");
    let first = "[[sources.s.routes]]\nto=['a']\n";
    let values = |count| {
        let mut values = String::new();
        for at in 0..count {
            write!(values, "{at},").expect("a text");
        }
        format!("{first}when.body.'/a'=[{values}]")
    };
    load_source(&many(0..64, &route));
    load_source(&format!("{first}{}", many(0..32, &line)));
    load_source(&values(64));
    for (source, expected) in [
        (
            many(0..65, &route),
            "sources.s.routes: 65 routes: expected at most 64",
        ),
        (
            format!("{first}{}when.type=['a']", many(0..32, &line)),
            "sources.s.routes[0].when: 33 lines: expected at most 32",
        ),
        (
            values(65),
            "sources.s.routes[0].when.body./a: 65 values: expected at most 64",
        ),
    ] {
        let error = load(&file(&source), &[]).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_route_may_lead_where_every_event_goes_and_is_noted() {
    let config = load_source(
        "destinations=['a']\n[[sources.s.routes]]\nto=['a']\nwhen.type=['x']\n\
         [[sources.s.routes]]\nto=['a','b']\nwhen.type=['y']",
    );
    let notes: Vec<_> = config.notes();
    assert_eq!(
        notes,
        ["sources.s.routes[0]: adds nothing: sources.s.destinations has all that it leads to"]
    );
    let config = config.resolve();
    let source = config.source("s").expect("the source");
    assert_eq!(source.all_destinations(), ["a", "b"]);
}

#[test]
fn an_order_by_a_header_that_is_not_kept_is_noted() {
    let notes = |header: &str| {
        let text = file("destinations=['a']\n[[sources.s.routes]]\nto=['b']\nwhen.type=['x']");
        let to = "url='http://y/'\n";
        let ordered = text.replace(to, &format!("{to}ordering={{header='{header}'}}\n"));
        load(&ordered, &[]).expect("a good one").notes()
    };
    assert_eq!(
        notes("User-Agent"),
        [
            "sources.s: destinations.b.ordering.header: \"User-Agent\" is not kept with an event: one \
          that is sent there later, by a replay or a reroute, has no order"
        ]
    );
    assert!(notes("X-Account").is_empty());
}

#[test]
fn lines_that_some_event_satisfies_are_allowed() {
    for when in [
        "when.type=['*']",
        "when.type=['a.*','a.b']",
        "when.headers.X-A=[{exists=false}]",
        "when.headers.Content-Type=[{prefix='application/'}]",
        "when.body.'/a'=[{exists=false}]\nwhen.body.'/a/b'=['x',{exists=false}]",
        "when.body.'/a'=['x',{exists=true}]\nwhen.body.'/a/b'=['y']",
        "when.body.'/a'=['x']\nwhen.body.'/ab'=['y']",
        "when.body.'/a'=[{min=1,max=1}]",
        "when.body.'/a'=[{prefix='a',not=['a','b']}]",
        "when.body.'/a'=[{equals_ignore_case='abc',prefix='A',suffix='C',contains='B'}]",
        "when.body.'/a'=[{min=1,max=2,not={min=2}}]",
    ] {
        load_source(&format!("[[sources.s.routes]]\nto=['a']\n{when}"));
    }
    for when in [
        "when.body.'/a'=[{prefix='a',not={prefix='ab'}}]",
        "when.body.'/a'=[{contains='ab',not={prefix='a'}}]",
        "when.body.'/a'=[{equals_ignore_case='ab',not=['ab',{prefix='a'}]}]",
        "when.body.'/a'=[{not={prefix=''}}]",
        "when.headers.X-A=[{prefix='a ',contains=' ',suffix=' a'}]",
        "when.type=['a','b.*']\nwhen.headers.X-Event=['c','b.c']",
        "when.type=['b.*']\nwhen.headers.X-Event=[{prefix='b',not=['b.c']}]",
    ] {
        load_source(&format!("[[sources.s.routes]]\nto=['a']\n{when}"));
    }
    let kept = "forward_authorization=true\n[[sources.s.routes]]\nto=['a']\n\
                when.headers.Authorization=[{exists=true}]";
    load_source(kept);
    // The secret of this hop is never kept.
    let secret = "verify.token={header='X-Token',secrets=['s']}\n[[sources.s.routes]]\nto=['a']\n\
                  when.headers.X-Token=[{exists=true}]";
    let error = load(&file(secret), &[]).expect_err("it is not kept");
    assert!(
        error.contains("\"X-Token\": expected a header that is kept"),
        "{error}"
    );
}

#[test]
fn a_stored_event_is_routed_by_what_is_kept_of_it() {
    let config = load_source(
        "decode='gzip'\n[[sources.s.routes]]\nto=['a']\nwhen.body.'/n'=[{min=9}]\n\
         [[sources.s.routes]]\nto=['b']\nwhen.type=['x']",
    );
    let config = config.resolve();
    let source = config.source("s").expect("the source");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, br#"{"n":10}"#).expect("a vector takes all");
    let compressed = encoder.finish().expect("a vector takes all");
    let event = |event_type, headers, body| StoredEvent {
        event_type,
        headers,
        body,
    };
    let gzip: &[u8] = b"content-encoding: gzip\r\n";
    let plain: &[u8] = br#"{"n":10}"#;
    for (event, expected) in [
        (event(None, b"", plain), &["a"][..]),
        (event(None, gzip, &compressed), &["a"]),
        (event(None, gzip, plain), &[]),
        (event(None, b"", &compressed), &[]),
        (event(Some("x"), b"", b"{}"), &["b"]),
        // Stored before the source had an event_type: today's finds it.
        (event(None, b"x-event: x\r\n", b"{}"), &["b"]),
        (event(Some("y"), b"x-event: x\r\n", b"{}"), &[]),
        (event(Some("x"), b"", plain), &["a", "b"]),
    ] {
        assert_eq!(*source.route_stored(&event), *expected, "{event:?}");
        let (verdicts, _) = source.explain_stored(&event);
        let wanted: Vec<_> = verdicts
            .into_iter()
            .filter(crate::model::route::Verdict::is_wanted)
            .map(|verdict| verdict.destination)
            .collect();
        assert_eq!(wanted, expected);
    }
}

#[test]
fn the_last_of_a_repeated_member_is_the_type() {
    let at = EventTypeAt::JsonPointer("/type".to_owned());
    let body = document(br#"{"type":"a","type":"b"}"#).expect("JSON");
    let found = at.read(|_| std::iter::empty(), Some(body));
    assert_eq!(found.as_deref(), Some("b"));
}
