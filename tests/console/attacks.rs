use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::flows::sign_in;
use crate::scene::{OPERATE, READ, Scene};
use crate::support::{Reply, until};
use crate::webdriver::{Browser, is_there};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const OWN: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

fn post(scene: &Scene, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    scene
        .relay
        .admin()
        .send("POST", path, headers, body.as_bytes())
}

/// Signs in without a browser; the cookie as a browser sends it.
fn cookie(scene: &Scene, token: &str) -> String {
    let reply = post(scene, "/sign-in", &[FORM, OWN], &format!("token={token}"));
    assert_eq!(reply.status, 303, "{}", reply.text());
    let set = reply.header("set-cookie").expect("a cookie");
    set.split(';').next().expect("a pair").to_owned()
}

/// A server of another site, with one page.
fn other_site(page: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all((head + &page).as_bytes());
        }
    });
    port
}

#[test]
fn every_page_has_the_headers_that_protect_it() {
    let scene = Scene::busy(true);
    let cookie = cookie(&scene, READ);
    let dead = scene.get("/api/deliveries?limit=1");
    let event = format!(
        "/events/{}",
        dead["items"][0]["id"].as_str().expect("an id")
    );
    for path in [
        "/",
        "/deliveries",
        &event,
        "/destinations",
        "/destinations/orders",
        "/operations",
        "/operations/new?kind=replay",
        "/configuration",
        "/sign-in",
        "/nothing",
    ] {
        let headers = [("Cookie", cookie.as_str()), ("Accept", "text/html")];
        let reply = scene.relay.admin().send("GET", path, &headers, b"");
        assert!(
            matches!(reply.status, 200 | 404),
            "{path}: {}",
            reply.status
        );
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                 connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}: {name}");
        }
        let text = reply.text();
        assert!(
            !text.contains("style=") && !text.contains("onclick="),
            "{path}"
        );
        assert_eq!(text.matches("<script").count(), 1, "{path}");
    }
}

#[test]
fn a_name_that_is_rebound_to_loopback_reaches_nothing() {
    let scene = Scene::busy(false);
    for path in ["/", "/sign-in", "/deliveries", "/api/overview"] {
        let host = ("Host", "rebound.test:8081");
        let reply = scene.relay.admin().send("GET", path, &[host], b"");
        assert_eq!(reply.status, 421, "{path}");
    }
    if !is_there() {
        return;
    }
    let browser = Browser::start(true);
    browser.open(&format!("http://a.rebound.test:{}/", scene.port()));
    assert!(!browser.text().contains("orders"), "{}", browser.text());
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    for has_tokens in [true, false] {
        let scene = Scene::empty(has_tokens);
        let path = "/destinations/orders/pause";
        let cookie = if has_tokens {
            cookie(&scene, OPERATE)
        } else {
            "a=b".to_owned()
        };
        let mut headers = vec![FORM, ("Cookie", cookie.as_str())];
        assert_eq!(
            post(&scene, path, &headers, "").status,
            403,
            "neither header"
        );
        headers.push(("Origin", "null"));
        assert_eq!(post(&scene, path, &headers, "").status, 403, "no origin");
        headers[2] = ("Sec-Fetch-Site", "cross-site");
        assert_eq!(post(&scene, path, &headers, "").status, 403, "another site");
        headers[2] = ("Sec-Fetch-Site", "same-site");
        assert_eq!(post(&scene, path, &headers, "").status, 403, "another port");
        if is_there() {
            let browser = Browser::start(true);
            if has_tokens {
                sign_in(&browser, &scene, OPERATE);
            }
            let page = format!(
                "<form method=post action='{}'></form><script>document.forms[0].submit()</script>",
                scene.url(path)
            );
            // Another port of the same host is the same site, so that the cookie is sent.
            let port = other_site(page);
            browser.open(&format!("http://127.0.0.1:{port}/"));
            browser.wait_for("the answer", || browser.url().contains(path).then_some(()));
            browser.see("may not be done");
        }
        let state = if has_tokens {
            scene.get("/api/destinations/orders")["state"].clone()
        } else {
            scene.relay.admin().get("/api/destinations/orders").json()["state"].clone()
        };
        assert_eq!(state, "active");
        headers[2] = OWN;
        assert_eq!(post(&scene, path, &headers, "").status, 303);
    }
}

#[test]
fn a_form_with_a_field_that_is_wrong_does_nothing() {
    let scene = Scene::empty(false);
    let act = |path: &str, body: &str| post(&scene, path, &[FORM, OWN], body).status;
    assert_eq!(act("/destinations/warehouse/pause", "reason=x"), 303);
    for (path, body) in [
        ("/destinations/orders/pause", "reason=x&force=1"),
        ("/destinations/orders/pause", "reason=x&reason=y"),
        (
            "/destinations/orders/pause",
            "paused_at=2026-01-01T00:00:00Z",
        ),
        ("/destinations/orders/ping", "reason=x"),
        ("/destinations/warehouse/resume", "paused_at=soon"),
        ("/destinations/warehouse/resume", "reason=x"),
        ("/operations", "kind=retry&all=true"),
        ("/operations", "kind=retry&all=true&nonce=n1&dry_run=true"),
        ("/operations", "kind=retry&source=a&source=b&nonce=n2"),
        ("/operations", "kind=discard&dead=true&nonce=n3&confirm=yes"),
    ] {
        assert_eq!(act(path, body), 400, "{path}: {body}");
    }
    let admin = scene.relay.admin();
    let state =
        |name: &str| admin.get(&format!("/api/destinations/{name}")).json()["state"].clone();
    assert_eq!(
        (state("orders"), state("warehouse")),
        ("active".into(), "paused".into())
    );
    assert_eq!(
        admin.get("/api/operations").json()["items"],
        serde_json::json!([])
    );
}

#[test]
fn a_count_without_any_field_says_what_is_missing() {
    let scene = Scene::empty(false);
    let text = |path: &str| scene.relay.admin().get(path).text();
    let says = "Fill in one of the fields";
    assert!(!text("/operations/new?kind=erase").contains(says));
    for path in [
        "/operations/new?kind=erase&source=",
        "/operations/new?kind=retry&status=&type=",
    ] {
        let text = text(path);
        assert!(
            text.contains(says) && !text.contains("Confirm"),
            "{path}: {text}"
        );
    }
}

#[test]
fn the_form_that_follows_a_count_has_its_times_and_no_ages() {
    let scene = Scene::empty(false);
    let json = ("Content-Type", "application/json");
    scene.send("github", &[json], b"{}");
    let page = until("it is counted", || {
        let page = scene.relay.admin();
        let page = page
            .get("/operations/new?kind=erase&since=1h&until=1ms")
            .text();
        page.contains("Confirm").then_some(page)
    });
    for name in ["since", "until"] {
        let time = format!("type=\"hidden\" name=\"{name}\" value=\"20");
        assert!(page.contains(&time), "{page}");
    }
}

#[test]
fn an_event_without_a_payload_offers_neither_a_command_nor_routes() {
    let scene = Scene::empty(false);
    let json = ("Content-Type", "application/json");
    let id = scene.send("github", &[json], b"{\"action\":\"paid\"}");
    let page = || scene.relay.admin().get(&format!("/events/{id}")).text();
    let before = page();
    assert!(
        before.contains("As a command") && before.contains(">Routes<"),
        "{before}"
    );
    let erase = format!("{{\"kind\":\"erase\",\"ids\":[\"{id}\"]}}");
    assert_eq!(post(&scene, "/api/operations", &[json], &erase).status, 202);
    let after = until("it is erased", || {
        Some(page()).filter(|page| page.contains("was erased"))
    });
    assert!(
        !after.contains("As a command") && !after.contains(">Routes<"),
        "{after}"
    );
    let file = format!("/api/events/{id}/payload");
    assert_eq!(scene.relay.admin().get(&file).status, 404);
    assert!(!after.contains(&file), "{after}");
}

#[test]
fn a_page_after_the_last_one_says_that_it_is_empty() {
    let scene = Scene::empty(false);
    for path in [
        "/destinations?after=900",
        "/operations?after=1",
        "/deliveries?after=d1-000000000000001-1",
    ] {
        let text = scene.relay.admin().get(path).text();
        assert!(
            text.contains("none on this page any more"),
            "{path}: {text}"
        );
        assert!(text.contains("First page"), "{path}: {text}");
        assert!(!text.contains(" to 899"), "{path}: {text}");
    }
}

#[test]
fn a_session_reads_the_api_and_changes_something_from_its_own_pages_alone() {
    let scene = Scene::empty(true);
    let cookie = cookie(&scene, OPERATE);
    let cookie = ("Cookie", cookie.as_str());
    let get = |headers: &[(&str, &str)]| {
        let reply = scene
            .relay
            .admin()
            .send("GET", "/api/overview", headers, b"");
        reply.status
    };
    assert_eq!(get(&[cookie]), 200);
    assert_eq!(get(&[]), 401);
    let path = "/api/destinations/orders/pause";
    let json = ("Content-Type", "application/json");
    assert_eq!(post(&scene, path, &[cookie, json], "{}").status, 403);
    let other = ("Sec-Fetch-Site", "same-site");
    assert_eq!(post(&scene, path, &[cookie, json, other], "{}").status, 403);
    assert_eq!(post(&scene, path, &[cookie, json, OWN], "{}").status, 200);
}

#[test]
fn a_session_that_somebody_has_planted_is_not_taken_over() {
    let scene = Scene::empty(true);
    let name = format!("relay_{}", scene.port());
    let planted = format!("{name}={}", "ab".repeat(32));
    let headers = [FORM, OWN, ("Cookie", planted.as_str())];
    let reply = post(&scene, "/sign-in", &headers, &format!("token={OPERATE}"));
    let set = reply.header("set-cookie").expect("a cookie");
    assert!(
        set.starts_with(&name) && !set.starts_with(&planted),
        "{set}"
    );
    let get = |cookie: &str| {
        let reply = scene
            .relay
            .admin()
            .send("GET", "/", &[("Cookie", cookie)], b"");
        reply.status
    };
    assert_eq!(get(&planted), 303);
    if !is_there() {
        return;
    }
    let browser = Browser::start(true);
    browser.open(&scene.url("/sign-in"));
    browser.set_cookie(&name, &"ab".repeat(32));
    sign_in(&browser, &scene, OPERATE);
    let cookies = browser.cookies();
    let ours = cookies.iter().find(|one| one["name"] == name.as_str());
    let ours = ours.expect("the session's cookie");
    assert_ne!(ours["value"], "ab".repeat(32));
    assert_eq!(ours["httpOnly"], true);
    assert_eq!(ours["sameSite"], "Strict");
    assert!(
        !browser
            .run("return document.cookie")
            .to_string()
            .contains("relay_")
    );
}

#[test]
fn guesses_are_refused_at_once_and_programs_are_not_slowed() {
    let scene = Scene::empty(true);
    for guess in 0..5 {
        let reply = post(
            &scene,
            "/sign-in",
            &[FORM, OWN],
            &format!("token=guess-{guess}"),
        );
        assert_eq!(reply.status, 401);
        assert!(reply.header("set-cookie").is_none());
    }
    let right = format!("token={OPERATE}");
    let reply = post(&scene, "/sign-in", &[FORM, OWN], &right);
    assert_eq!(reply.status, 429);
    let wait = reply.header("retry-after").expect("a wait");
    assert!(
        (1..=60).contains(&wait.parse::<u32>().expect("a number")),
        "{wait}"
    );
    scene.get("/api/overview");
    if !is_there() {
        return;
    }
    let browser = Browser::start(true);
    browser.open(&scene.url("/sign-in"));
    browser.fill("input[type=password]", OPERATE);
    browser.press("Sign in");
    browser.see("Too many sign-ins have failed");
}

#[test]
fn a_sign_in_leads_to_no_other_host() {
    let scene = Scene::empty(true);
    for next in [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:1",
    ] {
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let body = format!("token={OPERATE}&next={next}");
        let reply = post(&scene, "/sign-in", &[FORM, OWN], &body);
        assert_eq!(
            (reply.status, reply.header("location")),
            (303, Some("/")),
            "{next}"
        );
    }
}
