use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::clock::{Clock as _, FakeClock, SystemClock};
use serde_json::json;

use crate::flows::sign_in;
use crate::scene::{LONG_NAME, OPERATE, Scene};
use crate::support::until;
use crate::webdriver::{Browser, Theme, is_there};

/// The narrowest telephone, and a usual screen.
const WIDTHS: [u32; 2] = [360, 1440];

/// Complains of faults that a person would see at once.
const LOOKS: &str = include_str!("looks.js");

/// Checks that a page is accessible, no wider than the window, readable, and violates no policy.
fn check(browser: &Browser, page: &str) {
    let overflow = browser
        .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(overflow, json!(0), "{page} is wider than the window");
    let looks = browser.run(LOOKS);
    assert_eq!(looks, json!([]), "{page}: {looks:#}");
    let mut complaints = browser.complaints();
    // A page that isn't there, or that was asked for wrongly, says so by its status.
    let is_status = |text: &str| text.contains("status of 404") || text.contains("status of 400");
    complaints.retain(|text| !is_status(text));
    assert!(complaints.is_empty(), "{page}: {complaints:?}");
    let source = browser.source();
    assert!(!source.contains(" style="), "{page} has a style of its own");
    if let Some(axe) = axe() {
        let script = format!(
            "{axe}\nconst done = arguments[arguments.length - 1];\n\
             axe.run(document, {{ resultTypes: ['violations'] }}).then(\n\
             (found) => done(found.violations.map((one) => one.id + ': ' + one.help + ' '\n\
             + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | '))),\n\
             (error) => done(['axe failed: ' + error]));"
        );
        let found = browser.run_async(&script);
        assert_eq!(found, json!([]), "{page}: {found:#}");
    }
}

fn axe() -> Option<String> {
    let Ok(path) = std::env::var("RELAY_AXE") else {
        eprintln!("accessibility is not checked: RELAY_AXE isn't set");
        return None;
    };
    Some(std::fs::read_to_string(path).expect("RELAY_AXE is the path of axe.min.js"))
}

/// Shows a page in each theme and width.
pub fn look(browser: &Browser, name: &str, url: &str) {
    for width in WIDTHS {
        for theme in Theme::ALL {
            browser.show(theme, width);
            browser.open(url);
            browser.find("main h1");
            check(browser, &format!("{name} {width} {}", theme.name()));
            browser.picture(&format!("{name}-{width}-{}", theme.name()));
        }
    }
}

/// The id of the newest event of a list.
fn first(scene: &Scene, filter: &str) -> String {
    let page = scene.get(&format!("/api/deliveries?limit=1&{filter}"));
    page["items"][0]["id"].as_str().expect("an id").to_owned()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one list of pages")]
fn every_page_is_accessible_and_fits_in_both_themes_and_widths() {
    if !is_there() {
        return;
    }
    let scene = Scene::busy(true);
    let browser = Browser::start(true);
    look(&browser, "sign-in", &scene.url("/sign-in"));
    sign_in(&browser, &scene, OPERATE);
    let event = first(&scene, "status=dead_lettered");
    let routed = scene.send(
        "github",
        &[
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", "pull_request.opened"),
        ],
        br#"{"action":"unpaid"}"#,
    );
    let waiting = first(&scene, "destination=warehouse");
    let unrouted = first(&scene, "status=unrouted");
    scene.wait_for("dead_lettered", 31);
    for (name, path) in [
        ("overview", "/".to_owned()),
        ("deliveries", "/deliveries".to_owned()),
        (
            "deliveries-filtered",
            "/deliveries?status=dead_lettered&destination=mail".to_owned(),
        ),
        ("deliveries-none", "/deliveries?source=nobody".to_owned()),
        ("deliveries-one", "/deliveries?source=names".to_owned()),
        (
            "operation-one",
            "/operations/new?kind=erase&source=names".to_owned(),
        ),
        (
            "deliveries-unrouted",
            "/deliveries?status=unrouted".to_owned(),
        ),
        ("event-unrouted", format!("/events/{unrouted}")),
        ("event-dead", format!("/events/{event}")),
        ("event-routed", format!("/events/{routed}")),
        ("event-waiting", format!("/events/{waiting}?view=hex")),
        ("destinations", "/destinations".to_owned()),
        ("destination", "/destinations/orders".to_owned()),
        ("destination-paused", "/destinations/warehouse".to_owned()),
        ("destination-long", format!("/destinations/{LONG_NAME}")),
        ("operations-none", "/operations".to_owned()),
        (
            "operation-new",
            "/operations/new?kind=discard&status=dead_lettered".to_owned(),
        ),
        (
            "operation-routes",
            "/operations/new?kind=replay&route=true&source=github".to_owned(),
        ),
        ("operation-empty", "/operations/new?kind=reroute".to_owned()),
        ("configuration", "/configuration".to_owned()),
    ] {
        look(&browser, name, &scene.url(&path));
    }
    browser.open(&scene.url("/operations/new?kind=retry&destination=billing"));
    browser.press("Retry now");
    browser.see("is under way");
    look(&browser, "operations", &scene.url("/operations"));
    look(&browser, "not-found", &scene.url("/events/evt_none"));
    // An error leads on like any page.
    browser.find("nav [aria-current]");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one list of pages")]
fn states_that_want_an_operator_are_shown_on_pages_that_fit() {
    if !is_there() {
        return;
    }
    let mut scene = Scene::busy(true);
    let waiting = first(&scene, "destination=warehouse");
    scene.restart_in_trouble();
    let browser = Browser::start(true);
    sign_in(&browser, &scene, OPERATE);
    for (name, path, text) in [
        ("trouble-overview", "/".to_owned(), "it is held"),
        (
            "trouble-destinations",
            "/destinations".to_owned(),
            "not configured",
        ),
        (
            "trouble-held",
            "/destinations/orders".to_owned(),
            "by Retry-After",
        ),
        (
            "trouble-open",
            "/destinations/billing".to_owned(),
            "next probe",
        ),
        (
            "trouble-removed",
            "/destinations/removed-from-the-file".to_owned(),
            "not configured",
        ),
        (
            "trouble-event",
            format!("/events/{waiting}"),
            "to deliver it",
        ),
        (
            "trouble-erase",
            "/operations/new?kind=erase&source=shop".to_owned(),
            "Type erase to confirm",
        ),
        (
            "trouble-problem",
            "/operations/new?kind=erase&source=".to_owned(),
            "Fill in one of the fields",
        ),
        (
            "trouble-page",
            "/destinations?after=900".to_owned(),
            "none on this page any more",
        ),
        (
            "trouble-filter",
            "/deliveries?since=yesterday".to_owned(),
            "expected a time",
        ),
    ] {
        look(&browser, name, &scene.url(&path));
        browser.see(text);
    }
    browser.open(&scene.url("/operations/new?kind=erase&source=shop"));
    browser.see("Erase: 30 events");
    // The button of a field stands beside it, however narrow the window.
    for width in WIDTHS {
        browser.show(Theme::Light, width);
        browser.open(&scene.url("/destinations/billing"));
        let bottoms = "const bottom = (one) => document.querySelector(one).getBoundingClientRect()\
                       .bottom; return bottom('#reason') - bottom('form[action$=pause] button')";
        assert_eq!(browser.run(bottoms), json!(0), "{width}");
    }
    browser.open(&scene.url("/destinations/billing"));
    browser.press("Send a test ping");
    browser.see("This can't be done as things are");
}

#[test]
fn the_pages_of_a_new_relay_say_how_to_go_on() {
    if !is_there() {
        return;
    }
    let scene = Scene::empty(false);
    let browser = Browser::start(true);
    for (name, path, text) in [
        ("empty-overview", "/", "healthy"),
        ("empty-deliveries", "/deliveries", "relay send"),
        ("empty-operations", "/operations", "dead letters"),
    ] {
        look(&browser, name, &scene.url(path));
        browser.see(text);
    }
}

#[test]
fn all_pages_show_the_same_state_of_a_destination_and_the_list_its_last_hour() {
    let scene = Scene::empty(true);
    scene.send("shop", &[("Content-Type", "application/json")], b"{}");
    let bearer = format!("Bearer {OPERATE}");
    let headers = [("Authorization", bearer.as_str())];
    let page = |path: &str| scene.relay.admin().send("GET", path, &headers, b"").text();
    // The row or the head of the destination `billing`, which answers 503.
    let of_billing = |path: &str| {
        let page = page(path);
        let (_, rest) = page.split_once("billing</").expect("its name");
        rest.split("</tr>").next().unwrap_or_default().to_owned()
    };
    until("the attempt is in a rollup", || {
        let row = of_billing("/destinations/billing");
        row.contains("no success in 5 min").then_some(())
    });
    for path in ["/", "/destinations"] {
        let row = of_billing(path);
        assert!(
            row.contains("failing") && row.contains("no success in 5 min"),
            "{row}"
        );
        assert!(row.contains(r#"data-label="Delivered">0<"#), "{row}");
        assert!(row.contains(r#"data-label="Failed">1<"#), "{row}");
    }
}

#[test]
fn the_overview_tells_when_the_database_is_full() {
    let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
    let scene = Scene::growing(&clock);
    let overview = || {
        let bearer = format!("Bearer {OPERATE}");
        let headers = [("Authorization", bearer.as_str())];
        scene.relay.admin().send("GET", "/", &headers, b"").text()
    };
    assert!(
        !overview().contains("Database full"),
        "a new process knows of no trend yet"
    );
    clock.advance(Duration::from_secs(61));
    let begin = Instant::now();
    let page = loop {
        let page = overview();
        if page.contains("Database full") {
            break page;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{page}");
        std::thread::yield_now();
    };
    assert!(page.contains(", as it grows now"), "{page}");
    let api = scene.get("/api/overview");
    assert!(
        api["full_in_seconds"]
            .as_u64()
            .is_some_and(|left| left > 86_400)
    );
}

#[test]
fn the_overview_is_pictured_for_the_readme() {
    if !is_there() {
        return;
    }
    let scene = Scene::busy(true);
    let browser = Browser::start(true);
    sign_in(&browser, &scene, OPERATE);
    browser.show(Theme::Light, 1280);
    browser.open(&scene.url("/"));
    browser.find("main h2");
    let clip = json!({ "x": 0, "y": 0, "width": 1280, "height": 900, "scale": 1 });
    let picture = browser.picture_of("readme", &json!({ "clip": clip }));
    let bytes = std::fs::metadata(&picture).expect("a file").len();
    assert!(bytes < 300_000, "{bytes} bytes");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/console.png");
    assert!(
        kept.is_file(),
        "docs/console.png is a copy of target/console/readme.png"
    );
}
