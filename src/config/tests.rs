//! What a file and an environment mean, and what errors say.

use std::time::Duration;

use super::*;

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("relay.toml");
    std::fs::write(&path, text).expect("writing the file");
    Config::load_with(Some(&path), &|name| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).into())
    })
    .map_err(|error| {
        let shown = error.to_string();
        assert!(!shown.contains('\n'), "one line: {shown}");
        shown.replace(path.to_str().expect("a plain path"), "relay.toml")
    })
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = load("", &[]).expect("defaults are fine");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(config.api.keys.is_empty());
    assert_eq!(config.level(), crate::COMPILED_LEVEL);
}

#[test]
fn the_repositorys_file_is_a_working_example() {
    let config = load(include_str!("../../relay.toml"), &[]).expect("the example is fine");
    assert_eq!(config.api.keys[0].reveal(), "dev-key");
    assert!(config.source("github").is_some());
}

#[test]
fn the_environment_overrides_the_file() {
    let config = load(
        "[server]\nlisten = '127.0.0.1:1'\n[api]\nkeys = ['a']",
        &[
            ("RELAY_HTTP_ADDR", ":8429"),
            ("RELAY_ADMIN_ADDR", ""),
            ("RELAY_API_KEYS", "b, c"),
            ("RELAY_DB", "/tmp/x.db"),
            ("RELAY_MAX_BODY_BYTES", "64KiB"),
            ("RELAY_IDEMPOTENCY_TTL_SECONDS", "60"),
            ("RELAY_LIMIT_POST_RPS", "0.5"),
            ("RELAY_LIMIT_POST_BURST", "3"),
            ("RELAY_LIMIT_GET_RPS", "7"),
            ("RELAY_LIMIT_GET_BURST", "9"),
            ("RELAY_LOG", "debug"),
        ],
    )
    .expect("all good values");
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8429");
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.api.keys, [Secret::new("b"), Secret::new("c")]);
    assert_eq!(config.server.max_body_bytes, 65_536);
    assert_eq!(config.api.idempotency_window, Duration::from_secs(60));
    assert!((config.api.rate_limit.post.per_second - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.api.rate_limit.get.burst, 9);
    assert_eq!(config.log.level, "debug");
}

#[test]
fn errors_name_file_key_value_and_what_was_expected() {
    for (text, expected) in [
        (
            "[server]\nlisten = '127.0.0.1'",
            "relay.toml:2: server.listen: \"127.0.0.1\": expected an address and port",
        ),
        (
            "[server]\nlisen = ':80'",
            "relay.toml:2: server.lisen: unknown field `lisen`, expected one of `listen`",
        ),
        (
            "[server]\nheader_timeout = 10",
            "relay.toml:2: server.header_timeout: invalid type: integer `10`, expected a duration",
        ),
        (
            "[server]\nheader_timeout = '10 sec'",
            "\"10 sec\": expected a duration such as",
        ),
        ("[server\n", "relay.toml:1: "),
        (
            "[server]\nmax_connections = 0",
            "server.max_connections: 0: expected 1 to 65536",
        ),
        (
            "[server]\nheader_timeout = '0s'",
            "server.header_timeout: 0ms: expected 1ms to 1h",
        ),
        (
            "[destinations.a]\nurl = 'ftp://x/'",
            "destinations.a.url: \"ftp://x/\": must be an absolute http or https URL",
        ),
        (
            "[destinations.'a b']\nurl = 'http://x/'",
            "destinations.a b: expected a name of 1 to 64",
        ),
        (
            "[destinations.a]\nurl = 'http://127.0.0.1:8080/'",
            "destinations.a.url: \"http://127.0.0.1:8080\": expected an address other than our own listeners",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nsecrets=['env:NAME']",
            "destinations.a.secrets: *** (number 1): expected whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nsecrets_env='NO_SUCH'",
            "destinations.a.secrets_env: \"NO_SUCH\": expected a variable that holds a secret",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nheaders={'Content-Length'='1'}",
            "destinations.a.headers: \"Content-Length\": expected a header that relay doesn't set itself",
        ),
        (
            "[destinations.a]\nurl='http://x/'\ntransient_statuses=[200]",
            "destinations.a.transient_statuses: 200: expected a status from 300 to 599",
        ),
        (
            "[destinations.a]\nurl='http://x/'\ntransient_statuses=[422]\npermanent_statuses=[422]",
            "destinations.a.permanent_statuses: 422: expected a status that isn't among transient_statuses too",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nretry={jitter=2}",
            "destinations.a.retry.jitter: 2: expected 0 to 1",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nbreaker={ratio=1.5}",
            "destinations.a.breaker.ratio: 1.5: expected more than 0 and at most 1",
        ),
        (
            "[delivery.defaults]\nbreaker={failures=0}",
            "delivery.defaults.breaker.failures: 0: expected 1 to 1000000",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nretry={cap='1h'}",
            "destinations.a.retry.base: missing: factor, cap and attempts want it",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nretry={base='1s',schedule=['1s']}",
            "destinations.a.retry.base: contradicts schedule",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nretry={base='1s',factor=0.5}",
            "destinations.a.retry.factor: 0.5: expected 1 to 100",
        ),
        (
            "[destinations.a]\nurl='http://x/'\nretry={base='1s',attempts=102}",
            "destinations.a.retry.attempts: 102: expected 1 to 101",
        ),
        (
            "[retention]\ndelivered = '30m'",
            "retention.delivered: 1800s: expected at least api.idempotency_window (3600s)",
        ),
        (
            "[retention]\ndelivered = 'never'",
            "retention.delivered: \"never\": expected a duration such as",
        ),
        (
            "[sources.a]\ndestinations = []",
            "sources.a.destinations: []: expected at least one destination",
        ),
        (
            "[sources.a]\ndestinations = ['b']",
            "sources.a.destinations: \"b\": expected the name of a [destinations.…] section",
        ),
        (
            "[sources.a]\ndestinations = ['b']\nidempotency = { json_pointer = 'id' }\n[destinations.b]\nurl='http://x/'",
            "sources.a.idempotency.json_pointer: \"id\": expected a JSON pointer such as \"/id\"",
        ),
        (
            "[api]\nkeys = ['']",
            "api.keys: *** (number 1): expected visible ASCII",
        ),
        (
            "[api.rate_limit]\npost = { per_second = 0, burst = 1 }",
            "api.rate_limit.post.per_second: 0: expected more than 0",
        ),
        (
            "[delivery]\nallow_networks = ['10.0.0.1/99']",
            "delivery.allow_networks",
        ),
        (
            "[delivery]\nlevel = 'fast'",
            "unknown variant `fast`, expected one of `off`, `simulated`, `http`, `durable`",
        ),
        (
            "[delivery]\nconnect_timeout = '20s'",
            "delivery.connect_timeout: 20s: expected at most delivery.timeout (15s)",
        ),
    ] {
        let error = load(text, &[]).expect_err(text);
        assert!(
            error.contains(expected),
            "{text:?}\n  gave {error}\n  not  {expected}"
        );
    }
    for (variable, value, expected) in [
        (
            "RELAY_MAX_BODY_BYTES",
            "0",
            "environment: RELAY_MAX_BODY_BYTES: 0: expected 1 to",
        ),
        (
            "RELAY_DB",
            "",
            "environment: RELAY_DB: \"\": expected the path of a file",
        ),
        (
            "RELAY_LOG",
            "inof",
            "environment: RELAY_LOG: \"inof\": expected a level",
        ),
    ] {
        let error = load("", &[(variable, value)]).expect_err(variable);
        assert!(error.contains(expected), "{error}");
    }
    let error = load("", &[("RELAY_LIMIT_POST_BURST", "many")]).expect_err("not a number");
    assert_eq!(
        error,
        "environment: RELAY_LIMIT_POST_BURST: \"many\": expected a whole number of requests"
    );
}

#[test]
fn waits_can_grow_instead_of_being_listed() {
    let waits = |retry: &str| {
        let config = load(
            &format!("[destinations.a]\nurl='http://x/'\nretry={{{retry}}}"),
            &[],
        );
        let seconds = |wait: &Duration| wait.as_secs();
        let retry = config.expect("good values").full_retry("a");
        retry.schedule.iter().map(seconds).collect::<Vec<_>>()
    };
    assert_eq!(
        waits("base='5s', factor=3, cap='1m', attempts=6"),
        [5, 15, 45, 60, 60]
    );
    assert_eq!(waits("base='1s', attempts=5"), [1, 2, 4, 8]);
    assert_eq!(waits("base='1s', attempts=1"), [0; 0]);
    assert_eq!(waits("base='1h'").len(), 9);
    assert_eq!(
        waits("base='1s', factor=100, attempts=101")[100 - 1],
        86_400
    );
    assert_eq!(waits(""), Config::SCHEDULE.map(|wait| wait.as_secs()));
}

#[test]
fn breakers_and_retention_have_defaults_and_can_be_turned_off() {
    let config = load(
        "[delivery.defaults]\nbreaker={failures=3}\n[destinations.a]\nurl='http://x/'\nbreaker={probe_after='1h'}\n[destinations.b]\nurl='http://x/'\nbreaker={enabled=false}\n[retention]\ndead_lettered='forever'",
        &[],
    )
    .expect("good values");
    let own = config.breaker("a").expect("a breaker");
    assert_eq!(
        (own.failures, own.probe_after),
        (3, Duration::from_secs(3600))
    );
    assert!(own.probe_cap >= own.probe_after);
    assert_eq!(config.breaker("b"), None);
    assert_eq!(
        config.breaker("http://adhoc").map(|rules| rules.failures),
        Some(3)
    );
    assert_eq!(
        config.retention.delivered,
        Some(Duration::from_secs(604_800))
    );
    assert_eq!(config.retention.dead_lettered, None);
}

#[test]
fn a_verification_that_would_verify_nothing_stops_the_start() {
    const SECRET: &str = "secrets = ['s']";
    let load_verify = |text: &str| {
        let text = format!(
            "[destinations.d]\nurl = 'http://x/'\n[sources.a]\ndestinations = ['d']\n[sources.a.verify.{text}"
        );
        load(&text, &[("S", "from the environment")])
    };
    for (text, expected) in [
        (
            "hmac]\nheader = 'X'".to_owned(),
            "sources.a.verify.hmac.secrets: []: expected at least one secret",
        ),
        (
            "standard_webhooks]".to_owned(),
            "sources.a.verify.standard_webhooks.secrets: []: expected at least one secret",
        ),
        (
            "standard_webhooks]\nsecrets = ['whsec_short']".to_owned(),
            "standard_webhooks.secrets: *** (number 1): expected whsec_",
        ),
        (
            "hmac]\nheader = 'X'\nsecrets = ['']".to_owned(),
            "hmac.secrets: *** (number 1): expected a secret that isn't blank",
        ),
        (
            "hmac]\nheader = 'X'\nsecrets = ['env:S']".to_owned(),
            "hmac.secrets: *** (number 1): expected the secret itself",
        ),
        (
            "hmac]\nheader = 'X'\nsecrets_env = 'NONE'".to_owned(),
            "hmac.secrets_env: \"NONE\": expected a variable",
        ),
        (
            format!("hmac]\n{SECRET}"),
            "sources.a.verify.hmac.header: \"\": expected the name of an HTTP header",
        ),
        (
            format!("hmac]\nheader = 'a b'\n{SECRET}"),
            "hmac.header: \"a b\": expected the name of an HTTP header",
        ),
        (
            format!("hmac]\nheader = 'X'\nformat = 'sha256='\n{SECRET}"),
            "hmac.format: \"sha256=\": expected fields such as",
        ),
        (
            format!("hmac]\nheader = 'X'\nformat = 't={{timestamp}}'\n{SECRET}"),
            "hmac.format: \"t={timestamp}\": expected fields such as",
        ),
        (
            format!("hmac]\nheader = 'X'\nformat = '{{signature}}{{timestamp}}'\n{SECRET}"),
            "expected fields such as",
        ),
        (
            format!(
                "hmac]\nheader = 'X'\nformat = '{{timestamp}},{{signature}}'\nsigned = '{{timestamp}}{{body}}'\n{SECRET}"
            ),
            "to begin with a text of its own",
        ),
        (
            format!(
                "hmac]\nheader = 'X'\nformat = 'v={{timestamp}},v={{signature}}'\nsigned = '{{timestamp}}{{body}}'\n{SECRET}"
            ),
            "to begin with a text of its own",
        ),
        (
            format!(
                "hmac]\nheader = 'X'\nformat = 't={{timestamp}};a;v={{signature}}'\nsigned = '{{timestamp}}{{body}}'\n{SECRET}"
            ),
            "to begin with a text of its own",
        ),
        (
            format!("hmac]\nheader = 'X'\nsigned = '{{timestamp}}'\n{SECRET}"),
            "hmac.signed: \"{timestamp}\": expected something such as",
        ),
        (
            format!("hmac]\nheader = 'X'\nsigned = '{{timestamp}}.{{body}}'\n{SECRET}"),
            "neither format nor timestamp_header says where",
        ),
        (
            format!("hmac]\nheader = 'X'\ntimestamp_header = 'T'\n{SECRET}"),
            "a time that isn't signed proves nothing",
        ),
        (
            format!(
                "hmac]\nheader = 'X'\nformat = 't={{timestamp}},v1={{signature}}'\ntimestamp_header = 'T'\nsigned = '{{timestamp}}{{body}}'\n{SECRET}"
            ),
            "contradicts format",
        ),
        (
            format!("hmac]\nheader = 'X'\nalgorithm = 'md5'\n{SECRET}"),
            "unknown variant `md5`, expected one of `sha1`, `sha256`, `sha512`",
        ),
        (
            format!("hmac]\nheader = 'X'\ntolerance = '0s'\n{SECRET}"),
            "hmac.tolerance: 0ms: expected 1ms to 1h",
        ),
        (
            format!("hmac]\nheader = 'X'\nsecret = 'hush'\n{SECRET}"),
            "unknown field `secret`",
        ),
        (
            "hmac]\nheader = 'X'\nsecrets = 'hush'".to_owned(),
            "hmac.secrets: ***",
        ),
        (
            format!("md5]\n{SECRET}"),
            "unknown variant `md5`, expected `standard_webhooks` or `hmac`",
        ),
    ] {
        let error = load_verify(&text).expect_err(&text);
        assert!(
            error.contains(expected),
            "{text:?}\n  gave {error}\n  not  {expected}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
    let config = load_verify("hmac]\nheader = 'X'\nsecrets_env = 'S'").expect("a good scheme");
    let Some(Verify::Hmac(scheme)) = &config.sources["a"].verify else {
        panic!("a scheme");
    };
    assert_eq!(scheme.secrets, [Secret::new("from the environment")]);
}

#[test]
fn a_level_that_is_not_compiled_in_names_its_feature() {
    let compiled = crate::COMPILED_LEVEL;
    for level in ["simulated", "http", "durable"] {
        let result = load(&format!("[delivery]\nlevel = '{level}'"), &[]);
        match result {
            Ok(config) => assert!(config.level() <= compiled),
            Err(error) => assert!(
                error.contains(&format!("--features delivery-{level}")),
                "{error}"
            ),
        }
    }
}

#[test]
fn secrets_are_never_printed() {
    for text in [
        "[api]\nkeys = 'hush'",
        "[api]\nkeys = [12345]",
        "[destinations.a]\nurl='http://x/'\nsecrets='hush'",
        "[destinations.a]\nurl='http://x/'\nheaders='hush'",
        "[destinations.a]\nurl='http://x/'\nheaders={Authorization=12345}",
        "[destinations.a]\nurl='http://bob:hush@x/'",
    ] {
        let error = load(text, &[]).expect_err(text);
        assert!(
            !error.contains("hush") && !error.contains("12345"),
            "{error}"
        );
    }
    let config = load(
        "[delivery]\nlevel = 'off'\n[api]\nkeys = ['hush']\n[destinations.a]\nurl='http://x/'\nheaders={Authorization='hush'}\nsecrets=['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
        &[],
    )
    .expect("good values");
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hush") && !shown.contains("MfKQ9r8"),
        "{shown}"
    );
}

#[test]
fn secrets_come_from_variables_and_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "one\n\n two \n").expect("writing the file");
    let text = format!(
        "[api]\nkeys_env = 'K'\nkeys_file = '{}'",
        keys.to_str().expect("a plain path")
    );
    let config = load(&text, &[("K", "zero")]).expect("good values");
    let keys: Vec<_> = config.api.keys.iter().map(Secret::reveal).collect();
    assert_eq!(keys, ["zero", "one", "two"]);
}

#[test]
fn a_reference_that_nobody_resolves_is_refused() {
    let mut config = Config::default();
    config.api.keys_env = Some("K".to_owned());
    let error = config
        .check()
        .expect_err("only a file's references are resolved");
    assert!(error.to_string().contains("api.keys_env"), "{error}");
    let error = load("[api]\nkeys_env = 'K'", &[("K", " , ")]).expect_err("no key in it");
    assert!(
        error.contains("api.keys_env: \"K\": expected a variable that holds a secret"),
        "{error}"
    );
}
