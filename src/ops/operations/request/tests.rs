use super::*;
use crate::config::{Config, Destination};
use crate::store::BulkAction;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

fn config() -> Resolved {
    let mut config = Config::default();
    for name in ["orders", "billing"] {
        let url = "https://example.com/hook".parse().expect("a URL");
        let to = Destination::new(url);
        config.destinations.insert(name.to_owned(), to);
    }
    config.resolve()
}

fn request(json: &str) -> Result<OperationRequest, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn build(json: &str) -> Result<NewBulk, String> {
    let scope = Scope {
        config: &config(),
        now: NOW,
        is_stored: false,
        spelling: Spelling::Members,
    };
    let built = request(json)?.build(&scope);
    built.map_err(|invalid| format!("{}: {}", invalid.member, invalid.problem))
}

#[test]
fn a_request_means_what_the_command_of_its_kind_means() {
    let waiting = StateSet::WAITING;
    let dead = StateSet::DEAD_LETTERED;
    for (json, action, states, target) in [
        (
            r#"{"kind":"replay","dead":true}"#,
            BulkAction::Replay,
            dead,
            None,
        ),
        (
            r#"{"kind":"replay","source":"s"}"#,
            BulkAction::Replay,
            dead,
            None,
        ),
        (
            r#"{"kind":"replay","status":"delivered","since":"2h"}"#,
            BulkAction::Replay,
            StateSet::DELIVERED,
            None,
        ),
        (
            r#"{"kind":"replay","status":"delivered","all":true}"#,
            BulkAction::Replay,
            StateSet::DELIVERED,
            None,
        ),
        (
            r#"{"kind":"replay","to":"billing"}"#,
            BulkAction::SendTo,
            StateSet::ANY,
            Some("billing"),
        ),
        (
            r#"{"kind":"replay","route":true}"#,
            BulkAction::Route,
            StateSet::ANY,
            None,
        ),
        (
            r#"{"kind":"retry","all":true}"#,
            BulkAction::Retry,
            waiting,
            None,
        ),
        (
            r#"{"kind":"retry","status":"retrying"}"#,
            BulkAction::Retry,
            StateSet::of(DeliveryState::Retrying),
            None,
        ),
        (
            r#"{"kind":"discard","pending":true}"#,
            BulkAction::Discard,
            waiting,
            None,
        ),
        (
            r#"{"kind":"discard","reason":"410"}"#,
            BulkAction::Discard,
            dead,
            None,
        ),
        (
            r#"{"kind":"reroute","from":"orders","to":"billing"}"#,
            BulkAction::Reroute,
            waiting,
            Some("billing"),
        ),
    ] {
        let new = build(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(new.action, action, "{json}");
        assert_eq!(new.filter.states, states, "{json}");
        assert_eq!(new.target.as_deref(), target, "{json}");
    }
    let timed = build(r#"{"kind":"retry","since":"2h","type":"a.*"}"#).expect("a request");
    assert_eq!(
        timed.filter.since,
        NOW.minus(std::time::Duration::from_secs(7200))
    );
    assert_eq!(timed.filter.event_type.as_deref(), Some("a.*"));
    assert!(timed.filter.until < NOW, "nothing that ends from now on");
}

#[test]
fn a_request_that_contradicts_itself_or_means_everything_is_refused() {
    let id = "evt_0197b2f0-0000-7000-8000-000000000001";
    for (json, says) in [
        (
            "{}",
            "kind: expected one of replay, retry, discard, reroute",
        ),
        (r#"{"kind":"forget"}"#, "expected one of replay"),
        (r#"{"kind":"erase"}"#, "expected a filter"),
        (r#"{"kind":"replay"}"#, "all: expected a filter"),
        (r#"{"kind":"retry"}"#, "all: expected a filter"),
        (
            r#"{"kind":"replay","status":"delivered"}"#,
            "all: replay status delivered",
        ),
        (
            r#"{"kind":"replay","status":"queued"}"#,
            "expected one of delivered, dead_lettered",
        ),
        (
            r#"{"kind":"retry","status":"delivered"}"#,
            "expected one of queued, retrying",
        ),
        (
            r#"{"kind":"discard","status":"delivered"}"#,
            "can't be taken back",
        ),
        (
            r#"{"kind":"replay","route":true,"to":"billing"}"#,
            "exclude each other",
        ),
        (
            r#"{"kind":"discard","dead":true,"pending":true}"#,
            "exclude each other",
        ),
        (
            r#"{"kind":"retry","to":"billing","all":true}"#,
            "to is of replay and reroute",
        ),
        (
            r#"{"kind":"replay","from":"orders","all":true}"#,
            "from is of reroute",
        ),
        (
            r#"{"kind":"reroute","to":"billing"}"#,
            "from: expected a destination",
        ),
        (
            r#"{"kind":"reroute","from":"orders"}"#,
            "to: expected a destination",
        ),
        (
            r#"{"kind":"reroute","from":"orders","to":"billing","destination":"x"}"#,
            "from names the destination",
        ),
        (
            r#"{"kind":"reroute","from":"orders","to":"orders"}"#,
            "expected two destinations",
        ),
        (
            r#"{"kind":"reroute","from":"orders","to":"nobody"}"#,
            "configured destination",
        ),
        (
            r#"{"kind":"retry","destination":"nobody"}"#,
            "no such destination",
        ),
        (r#"{"kind":"retry","statsu":"queued"}"#, "unknown field"),
        (r#"{"kind":"retry","since":"soon"}"#, "expected a time"),
        (r#"{"kind":"retry","ids":["x"]}"#, "not an id"),
        (r#"{"kind":"retry","ids":[]}"#, "expected 1 to 1000"),
        (
            &format!(r#"{{"kind":"retry","ids":["{id}"],"source":"s"}}"#),
            "source selects among many",
        ),
    ] {
        let error = build(json).expect_err(json);
        assert!(error.contains(says), "{json}: {error}");
    }
}

#[test]
fn a_form_is_read_like_json() {
    let field = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let form =
        |fields: &[(&str, &str)]| OperationRequest::from_form(fields.iter().copied().map(field));
    let id = "evt_0197b2f0-0000-7000-8000-000000000001";
    let read = form(&[
        ("kind", "discard"),
        ("pending", "on"),
        ("source", ""),
        ("ids", &format!("{id}\r\n{id}")),
    ])
    .expect("a form");
    assert_eq!(read.kind, Some(OperationKind::Discard));
    assert!(read.pending && !read.dead && read.source.is_none());
    assert_eq!(read.ids.len(), 1);
    let (member, problem) = form(&[("kind", "discard"), ("since", "soon")]).expect_err("bad");
    assert!(
        member == "since" && problem.contains("expected a time"),
        "{problem}"
    );
    assert!(form(&[("kinds", "discard")]).is_err());
    let twice = [("kind", "discard"), ("source", "a"), ("source", "b")];
    let (member, problem) = form(&twice).expect_err("two sources");
    assert_eq!(
        (member.as_str(), problem.as_str()),
        ("source", "expected once")
    );
}

#[test]
fn the_command_line_is_told_of_its_flags() {
    let request = OperationRequest {
        kind: Some(OperationKind::Replay),
        status: Some(DeliveryState::Delivered),
        ..OperationRequest::default()
    };
    let invalid = request.check(Spelling::Flags).expect_err("everything");
    assert_eq!(
        invalid.problem,
        "replay --status delivered sends all stored events once more: expected a filter \
         (--source, --destination, --type, --since), or --all"
    );
    assert!(!invalid.is_usage);
    let request = OperationRequest {
        kind: Some(OperationKind::Retry),
        ..OperationRequest::default()
    };
    let invalid = request.check(Spelling::Flags).expect_err("nothing");
    assert_eq!(
        invalid.problem,
        "expected the <ID> of a relay or an event, a filter such as --destination or --status, or \
         --all for everything"
    );
    assert!(invalid.is_usage);
}

#[test]
fn an_unknown_destination_is_refused_with_those_there_are() {
    let none = Config::default().resolve();
    let names = |error: Invalid| error.problem;
    assert_eq!(
        known(&none, "from", "x", false).map_err(names),
        Err(
            "\"x\": there is no such destination; expected a configured one, of which there is \
             none, or an ad hoc origin such as https://example.com"
                .to_owned()
        )
    );
    assert_eq!(
        configured(&none, "to", "x").map_err(names),
        Err(
            "\"x\": expected the name of a configured destination, of which there is none; a URL \
             is none"
                .to_owned()
        )
    );
    assert_eq!(
        configured(&config(), "to", "orders").map_err(names),
        Ok("orders".to_owned())
    );
}

#[test]
fn an_empty_text_is_refused_in_whatever_member() {
    for member in ["destination", "source", "type", "reason", "from", "to"] {
        for kind in OperationKind::ALL.map(OperationKind::name) {
            let json = format!(r#"{{"kind":"{kind}","all":true,"{member}":""}}"#);
            let problem = build(&json).expect_err(&json);
            let expected = format!("{member}: {member} is empty: expected a text, or no {member}");
            assert_eq!(problem, expected);
        }
    }
}
