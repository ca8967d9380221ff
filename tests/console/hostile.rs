use crate::flows::sign_in;
use crate::scene::{HOSTILE, OPERATE, Scene};
use crate::webdriver::{Browser, is_there};

/// The page of an event, which shows its payload and runs none of it.
fn open(browser: &Browser, scene: &Scene, id: &str, query: &str) -> String {
    browser.open(&scene.url(&format!("/events/{id}{query}")));
    browser.find("main h1");
    assert!(
        browser.title().starts_with("Event evt_"),
        "{}",
        browser.title()
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
    let source = browser.source();
    for raw in ['\u{202e}', '\u{0}', '\u{1b}'] {
        assert!(!source.contains(raw), "{raw:?} is raw");
    }
    source
}

#[test]
fn hostile_payloads_are_shown_and_harmless() {
    if !is_there() {
        return;
    }
    let scene = Scene::empty(true);
    let browser = Browser::start(true);
    sign_in(&browser, &scene, OPERATE);
    let text = [("Content-Type", "text/plain")];

    let script = scene.send("shop", &text, HOSTILE.as_bytes());
    open(&browser, &scene, &script, "");
    let shown = browser.text();
    assert!(
        shown.contains("<script>document.title='stolen'</script>"),
        "{shown}"
    );
    assert!(shown.contains("\\u{202e}gnp.exe"), "{shown}");
    // The answer of the destination holds the same.
    scene.wait_for("dead_lettered", 1);
    open(&browser, &scene, &script, "");
    for details in browser.all("td details summary") {
        browser.click(&details);
    }
    assert!(browser.title().starts_with("Event evt_"));

    let huge = vec![b'<'; 8 << 20];
    let huge = scene.send("shop", &text, &huge);
    let source = open(&browser, &scene, &huge, "");
    assert!(source.len() < 1 << 20, "{} bytes", source.len());
    browser.see("The first 65536 of 8388608 bytes");

    let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let binary = scene.send("shop", &text, &bytes);
    open(&browser, &scene, &binary, "");
    browser.see("00000010");
    open(&browser, &scene, &script, "?view=hex");
    browser.see("3c 73 63 72 69 70 74 3e");

    let long = "h".repeat(16 * 1024);
    let headers = [("Content-Type", "text/plain"), ("X-Long", long.as_str())];
    let long = scene.send("shop", &headers, b"x");
    open(&browser, &scene, &long, "");
    let overflow = browser
        .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(overflow, serde_json::json!(0));
}

#[test]
fn no_page_shows_a_secret() {
    let scene = Scene::busy(true);
    let secret = "gitlab-SECRET-token";
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Gitlab-Token", secret),
    ];
    let event = scene.send("shop", &headers, b"{}");
    let bearer = format!("Bearer {OPERATE}");
    for path in [
        "/",
        "/configuration",
        "/destinations/orders",
        &format!("/events/{event}"),
    ] {
        let reply = scene
            .relay
            .admin()
            .send("GET", path, &[("Authorization", &bearer)], b"");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let text = reply.text();
        assert!(
            !text.contains("SECRET") && !text.contains(OPERATE),
            "{path}: {text}"
        );
    }
}
