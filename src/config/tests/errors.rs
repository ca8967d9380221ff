//! The texts of errors.

use super::load;
use crate::compiled_level::HAS_POSTGRES;

/// Files, and what their errors contain.
const FILES: &[(&str, &str)] = &[
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
        "server = 5",
        "relay.toml:1: server: invalid type: integer `5`, expected a table",
    ),
    (
        "[destinations.a]\nurl='http://x/'\n[sources.s]\n[[sources.s.routes]]\nto=['a']\nwhen='x'",
        "sources.s.routes[0].when: invalid type: string \"x\", expected a table",
    ),
    (
        "[server]\nmax_connections = 0",
        "server.max_connections: 0: expected 1 to 65536",
    ),
    (
        "[server]\nheader_timeout = '0s'",
        "server.header_timeout: 0ms: expected 1ms to 1h",
    ),
    (
        "[server]\nlisten = ':443'\n[server.tls]\ncert_file = 'a.pem'\nkey_file = 'a.key'\n\
         [server.acme]\ndomains = ['a.example']\naccept_terms = true",
        "server.acme: contradicts server.tls: expected one of the two",
    ),
    (
        "[database]\npath = 'relay.db'\nurl = 'postgres://relay@db/relay'",
        "relay.toml:3: database.url: contradicts database.path: expected one of the two",
    ),
    (
        "[api]\nkeys_file = \"a\\nb\"",
        "api.keys_file: \"a\\nb\": No such file",
    ),
    (
        "[destinations.a]\nurl = 'https://x/'\nca_file = \"a\\nb\"",
        "destinations.a.ca_file: \"a\\nb\": No such file",
    ),
    (
        "[server]\nlisten = '127.0.0.1:28790'\n[admin]\nlisten = ':28790'",
        "admin.listen: 0.0.0.0:28790: expected an address other than server.listen \
         (127.0.0.1:28790)",
    ),
    (
        "[backup]\ndirectory = '.'\n[database]\nurl = 'postgres://relay@db/relay'",
        "backup: contradicts database.url: a server of PostgreSQL has backups of its own",
    ),
    (
        "[server.tls]\ncert_file = 'a.pem'",
        "server.tls: missing field `key_file`",
    ),
    (
        "[admin.tls]\ncert_file = 'a.pem'\nkey_file = ''",
        "admin.tls.key_file: \"\": expected the path of a PEM file",
    ),
    (
        "[server.acme]\ndomains = ['a.example']\naccept_terms = true\nexternal = 443",
        "server.acme.external: unknown field `external`",
    ),
    (
        "[destinations.a]\nurl = 'ftp://x/'",
        "destinations.a.url: \"ftp://x/\": must be an absolute http or https URL",
    ),
    (
        "[destinations.a]\nurl = 'ftp://u:hush@x/'",
        "destinations.a.url: \"ftp://***@x/\": must be an absolute http or https URL",
    ),
    (
        "[server]\npublic_url = 'https://u:hush@x/?a'",
        "server.public_url: \"https://***@x/?a\": expected a URL without a query",
    ),
    (
        "[server]\npublic_url = 'https://u:hu/sh@x'",
        "server.public_url: \"https://***@x\": expected a URL without a query",
    ),
    (
        "[server.acme]\ndomains = ['a.example']\naccept_terms = true\n\
         directory_url = 'https://u:hush@x/'",
        "server.acme.directory_url: \"https://***@x/\": expected a URL of https",
    ),
    (
        "[destinations.a]\nurl = 'http://x/ok?q=a<b'",
        "destinations.a.url: \"http://x/ok?q=a<b\": must not hold '<' (percent-encode it: %3C)",
    ),
    (
        "[destinations.'a b']\nurl = 'http://x/'",
        "destinations.a b: expected a name of 1 to 64",
    ),
    (
        "[destinations.a]\nurl = 'http://127.0.0.1:8080/'",
        "destinations.a.url: \"http://127.0.0.1:8080\": expected an address other than server.listen \
         (127.0.0.1:8080)",
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
        "[destinations.a]\nurl='http://x/'\nheaders={'relay_verified'='hush'}",
        "destinations.a.headers: \"relay_verified\": expected a header that relay doesn't set",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nheaders={'Proxy-Authorization'='hush'}",
        "destinations.a.headers: \"Proxy-Authorization\": expected a header that relay doesn't set",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nheaders={'proxy-connection'='close'}",
        "destinations.a.headers: \"proxy-connection\": expected a header that relay doesn't set",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nheaders=1979-05-27",
        "destinations.a.headers: invalid type: a date or a time, expected another type",
    ),
    (
        "[sources.a]\nparams={x=[07:32:00]}",
        "sources.a.params.x[0]: invalid type: a date or a time, expected another type",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nheaders={'x-a'='1', 'X-A'='2'}",
        "destinations.a.headers: \"x-a\": expected each header once, in whatever case",
    ),
    (
        "[database]\npath=\"a\\u0000b\"",
        "database.path: \"a\\0b\": expected the path of a file",
    ),
    (
        "[backup]\ndirectory=\"a\\u0000b\"",
        "backup.directory: \"a\\0b\": expected the path of a directory",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = '/customer/id'",
        "destinations.a.ordering: invalid value: string \"/customer/id\", expected \"source\", \
         \"all\", or a table such as { by = \"/customer/id\", on_dead = \"block\" }",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = { by = 'customer' }",
        "destinations.a.ordering.by: \"customer\": expected a JSON pointer such as \
         \"/customer/id\", \"source\" or \"all\"",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = { by = '/a', header = 'X-Account' }",
        "destinations.a.ordering: by contradicts header: expected one of them",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = { on_dead = 'block' }",
        "destinations.a.ordering: has neither by nor header: expected one of them",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = { header = 'X Account' }",
        "destinations.a.ordering.header: \"X Account\": expected the name of an HTTP header",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = { by = 'all', on_dead = 'stop' }",
        "unknown variant `stop`, expected `block` or `skip`",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = { key = 'all' }",
        "unknown field `key`, expected one of `by`, `header`, `on_dead`",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nordering = ['/a']",
        "destinations.a.ordering: invalid type: sequence, expected \"source\", \"all\", or a table",
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
        "[destinations.a]\nurl='http://x/'\nretry={base='60s',cap='2s'}",
        "destinations.a.retry.cap: 2s: expected at least destinations.a.retry.base (60s)",
    ),
    (
        "[delivery.defaults]\nretry={base='2d'}",
        "delivery.defaults.retry.base: 172800s: expected at most delivery.defaults.retry.cap \
         (86400s by default)",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nbreaker={probe_after='20m',probe_cap='1m'}",
        "destinations.a.breaker.probe_cap: 60s: expected at least \
         destinations.a.breaker.probe_after (1200s)",
    ),
    (
        "[delivery.defaults]\nbreaker={probe_cap='10s'}",
        "delivery.defaults.breaker.probe_cap: 10s: expected at least \
         delivery.defaults.breaker.probe_after (30s by default)",
    ),
    (
        "[delivery.defaults]\nbreaker={probe_cap='1m'}\n\
         [destinations.a]\nurl='http://x/'\nbreaker={probe_after='20m'}",
        "destinations.a.breaker.probe_after: 1200s: expected at most \
         delivery.defaults.breaker.probe_cap (60s)",
    ),
    (
        "[delivery.defaults]\nbreaker={probe_after='20m'}\n\
         [destinations.a]\nurl='http://x/'\nbreaker={probe_cap='1m'}",
        "destinations.a.breaker.probe_cap: 60s: expected at least \
         delivery.defaults.breaker.probe_after (1200s)",
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
        "delivery.allow_networks[0]: \"10.0.0.1/99\": expected a network such as",
    ),
    (
        "[server]\ntrusted_proxies = ['127.0.0.1']",
        "server.trusted_proxies[0]: \"127.0.0.1\": expected a network such as \"192.0.2.0/24\" or \
         \"2001:db8::/32\"; a single address is \"192.0.2.1/32\"",
    ),
    (
        "[server]\ntrusted_proxies = [1]",
        "server.trusted_proxies[0]: invalid type: integer `1`, expected a network such as",
    ),
    (
        "[delivery]\nlevel = 'fast'",
        "unknown variant `fast`, expected one of `off`, `simulated`, `http`, `durable`",
    ),
    (
        "[delivery]\nconnect_timeout = '20s'",
        "delivery.connect_timeout: 20s: expected at most delivery.timeout (15s)",
    ),
];

/// Values of a wrong type, and the keys and expectations of their errors.
const TYPES: &[(&str, &str)] = &[
    (
        "[api]\nkeys='hush'",
        "api.keys: ***: expected a list of texts",
    ),
    ("[api]\nkeys=[5]", "api.keys[0]: ***: expected a text"),
    (
        "[destinations.a]\nurl='http://x/'\nsecrets='hush, expected hush'",
        "destinations.a.secrets: ***: expected a list of texts",
    ),
    (
        "[destinations.a]\nurl='http://x/'\nheaders={X-A=5}",
        "destinations.a.headers.X-A: ***: expected a text",
    ),
    (
        "[sources.a]\nhub_tokens='hush'",
        "sources.a.hub_tokens: ***: expected a list of texts",
    ),
    (
        "[alerts]\nheartbeat={urls='hush'}",
        "alerts.heartbeat.urls: unknown field `urls`, expected one of `url`",
    ),
    (
        "[sources.a]\nevent_type={header='X',json_pointer='/t'}",
        "sources.a.event_type: expected a table with one of header and json_pointer",
    ),
    (
        "[sources.a]\nevent_type='header'",
        "sources.a.event_type: expected a table with one of header and json_pointer",
    ),
    (
        "[sources.a]\nverify=false",
        "sources.a.verify: expected a table of one of standard_webhooks, hmac",
    ),
    (
        "[sources.a]\nverify='hmac'",
        "sources.a.verify: expected a table of one of standard_webhooks, hmac",
    ),
    (
        "[sources.a]\nverify={hmac='hush'}",
        "sources.a.verify.hmac: ***: expected a table",
    ),
    (
        "[sources.a]\nidempotency={}",
        "sources.a.idempotency: invalid type: map, expected a table with one key",
    ),
    (
        "[log]\nformat=5",
        "log.format: expected one name, in quotes",
    ),
    (
        "[sources.a]\nanswer={status='200'}",
        "answer.status: invalid type: string \"200\", expected a whole number from 0 to 65535",
    ),
    (
        "[server]\nmax_connections=-5",
        "invalid value: integer `-5`, expected a whole number from 0 to 4294967295",
    ),
];

/// Variables with a value, and what their errors contain.
const VARIABLES: &[(&str, &str, &str)] = &[
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
    ("RELAY_LOG", "ü", "RELAY_LOG: \"ü\": expected a level"),
    ("RELAY_LOG", ",", "RELAY_LOG: \",\": expected a level"),
    ("RELAY_LOG", "5S", "RELAY_LOG: \"5S\": expected a level"),
    (
        "RELAY_LOG",
        "info,=debug",
        "RELAY_LOG: \"info,=debug\": expected a level",
    ),
    (
        "RELAY_API_KEYS",
        "",
        "environment: RELAY_API_KEYS: \"\": expected keys",
    ),
    (
        "RELAY_API_KEYS",
        " , ",
        "environment: RELAY_API_KEYS: \",\": expected keys",
    ),
];

#[test]
fn an_error_names_the_file_the_key_the_value_and_the_expectation() {
    for (text, expected) in FILES.iter().chain(TYPES) {
        let error = load(text, &[]).expect_err(text);
        assert!(
            error.contains(expected),
            "{text:?}\n  gave {error}\n  not  {expected}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn a_contradiction_names_the_variable_on_either_side() {
    let postgres = ("RELAY_DATABASE_URL", "postgres://u:hush@h/d");
    for (text, variable, expected) in [
        (
            "[retention]\ndelivered = '7d'",
            ("RELAY_IDEMPOTENCY_TTL_SECONDS", "2592000"),
            "relay.toml: retention.delivered: 604800s: expected at least \
             RELAY_IDEMPOTENCY_TTL_SECONDS (2592000s)",
        ),
        (
            "[admin]\nlisten = '127.0.0.1:1'",
            ("RELAY_HTTP_ADDR", "127.0.0.1:1"),
            "relay.toml: admin.listen: 127.0.0.1:1: expected an address other than \
             RELAY_HTTP_ADDR (127.0.0.1:1)",
        ),
        (
            "[destinations.a]\nurl = 'http://127.0.0.1:1/'",
            ("RELAY_ADMIN_ADDR", "127.0.0.1:1"),
            "relay.toml: destinations.a.url: \"http://127.0.0.1:1\": expected an address other \
             than RELAY_ADMIN_ADDR (127.0.0.1:1)",
        ),
        (
            "[backup]\ndirectory = 'b'",
            postgres,
            "relay.toml: backup: contradicts RELAY_DATABASE_URL: a server",
        ),
        (
            "[alerts]\ndestination = 'server.listen'",
            ("RELAY_HTTP_ADDR", ":1"),
            "relay.toml: alerts.destination: \"server.listen\": expected the name",
        ),
    ] {
        let error = load(text, &[variable]).expect_err(text);
        assert!(error.contains(expected), "{text:?}\n  gave {error}");
        assert!(!error.contains("hush"), "{error}");
    }
    if HAS_POSTGRES {
        let error = load("[database]\npath = 'x.db'", &[postgres]).expect_err("two databases");
        assert!(
            error.contains("RELAY_DATABASE_URL: contradicts database.path"),
            "{error}"
        );
        let text = "[database]\nurl = 'postgres://h/d'";
        let error = load(text, &[("RELAY_DB", "x.db")]).expect_err("two databases");
        assert!(
            error.contains("database.url: contradicts RELAY_DB"),
            "{error}"
        );
    }
}

#[test]
fn an_error_of_a_variable_names_the_variable() {
    for (variable, value, expected) in VARIABLES {
        let error = load("", &[(variable, value)]).expect_err(variable);
        assert!(error.contains(expected), "{error}");
    }
    for level in [
        "info,",
        "off,relay",
        "warn,hyper=info",
        "debug/refused",
        "/refused",
    ] {
        load("", &[("RELAY_LOG", level)]).expect(level);
    }
    let error = load("", &[("RELAY_LIMIT_POST_BURST", "many")]).expect_err("not a number");
    assert_eq!(
        error,
        "environment: RELAY_LIMIT_POST_BURST: \"many\": expected a whole number of requests"
    );
}
