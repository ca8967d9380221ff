use crate::scene::{OPERATE, READ, Scene};
use crate::webdriver::{Browser, is_there};

/// Signs in by the form.
pub fn sign_in(browser: &Browser, scene: &Scene, token: &str) {
    browser.open(&scene.url("/sign-in"));
    browser.fill("input[type=password]", token);
    browser.press("Sign in");
    browser.find("nav");
}

/// Signs in, finds the dead letters, replays all, pauses and resumes, cancels, signs out.
fn work(has_scripts: bool) {
    let scene = Scene::busy(true);
    let browser = Browser::start(has_scripts);

    // A link leads to the form first, and then to its page.
    browser.open(&scene.url("/deliveries?status=dead_lettered"));
    browser.fill("input[type=password]", OPERATE);
    browser.press("Sign in");
    browser.see("30 deliveries match");
    assert!(browser.url().ends_with("/deliveries?status=dead_lettered"));

    // All that match are counted, and then replayed.
    browser.follow("Replay all");
    browser.see("Replay: 30 deliveries");
    browser.press("Replay 30");
    browser.see("is under way");
    browser.wait_for("the end of the replay", || {
        let operations = scene.get("/api/operations?limit=1");
        (operations["items"][0]["state"] == "done").then_some(())
    });
    scene.wait_for("dead_lettered", 30);
    let operation = scene.get("/api/operations?limit=1");
    assert_eq!(operation["items"][0]["actor"], "OPS_TOKEN");

    // Discarding wants a word. The wrong one does nothing.
    browser.open(&scene.url("/operations/new?kind=discard&status=dead_lettered&destination=mail"));
    browser.fill("#confirm", "discar");
    browser.press("Discard");
    scene.wait_for("dead_lettered", 30);
    browser.open(&scene.url("/operations/new?kind=discard&status=dead_lettered&destination=mail"));
    browser.fill("#confirm", "discard");
    browser.press("Discard");
    browser.see("is under way");
    browser.wait_for("none is left", || {
        (scene.in_state("dead_lettered") == 0).then_some(())
    });

    // A destination is paused and resumed.
    browser.open(&scene.url("/destinations/orders"));
    browser.fill("#reason", "a new disk");
    browser.press("Pause");
    browser.see("a new disk (by OPS_TOKEN)");
    browser.press("Resume");
    browser.see("orders is resumed");

    // An operation waits for attempts under way, and is cancelled meanwhile.
    for _ in 0..24 {
        scene.send("slow", &[("Content-Type", "application/json")], b"{}");
    }
    scene.wait_for("processing", 1);
    browser.open(&scene.url("/operations/new?kind=discard&status=queued&destination=slow"));
    browser.fill("#confirm", "discard");
    browser.press("Discard");
    browser.see("running");
    browser.press("Cancel");
    browser.see("is cancelled");

    browser.press("Sign out");
    browser.find("input[type=password]");
    browser.open(&scene.url("/"));
    browser.find("input[type=password]");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn an_operator_works_with_scripts() {
    if is_there() {
        work(true);
    }
}

#[test]
fn an_operator_works_without_scripts() {
    if is_there() {
        work(false);
    }
}

#[test]
fn a_page_is_kept_up_to_date_while_it_is_looked_at() {
    if !is_there() {
        return;
    }
    let scene = Scene::busy(true);
    let browser = Browser::start(true);
    sign_in(&browser, &scene, READ);
    browser.open(&scene.url("/deliveries?source=store"));
    browser.see("7 deliveries match");
    assert_eq!(browser.text_of(&browser.find("#live")), "live");
    scene.send("store", &[("Content-Type", "application/json")], b"{}");
    browser.see("8 deliveries match");

    // While a form has the focus nothing moves under the hands: the page isn't even read. A tab
    // that becomes visible is read anew at once.
    let refresh = "document.dispatchEvent(new Event('visibilitychange'))";
    browser.fill("#type", "half a wo");
    browser.run(
        "window.reads = 0;
         const read = window.fetch;
         window.fetch = (...what) => { window.reads += 1; return read(...what); }",
    );
    scene.send("store", &[("Content-Type", "application/json")], b"{}");
    browser.run(refresh);
    assert_eq!(browser.run("return window.reads"), 0);
    browser.see("8 deliveries match");
    browser.run("document.activeElement.blur()");
    browser.run(refresh);
    browser.see("9 deliveries match");
    assert_ne!(browser.run("return window.reads"), 0);
}

#[test]
fn events_that_no_route_wanted_are_found_and_sent_by_todays_routes() {
    if !is_there() {
        return;
    }
    let mut scene = Scene::busy(true);
    let browser = Browser::start(true);
    sign_in(&browser, &scene, OPERATE);
    browser.open(&scene.url("/deliveries?status=unrouted&source=audit"));
    browser.see("3 events match");
    assert_eq!(browser.all("tbody tr").len(), 3);

    // There is nothing to send before a route wants them.
    browser.follow("Send by today's routes");
    browser.see("None matches");
    scene.restart_with_more_routes();
    sign_in(&browser, &scene, OPERATE);
    browser.open(&scene.url("/deliveries?status=unrouted&source=audit"));
    browser.follow("Send by today's routes");
    browser.see("Replay by today's routes: 3 deliveries");
    browser.press("Replay 3");
    browser.see("is under way");
    browser.wait_for("the deliveries", || {
        let page = scene.get("/api/deliveries?source=audit&status=delivered");
        (page["items"].as_array().map(Vec::len) == Some(3)).then_some(())
    });
    browser.open(&scene.url("/deliveries?status=unrouted&source=audit"));
    browser.see("No event matches that no route wanted");
}

#[test]
fn the_role_read_sees_everything_and_has_no_form() {
    if !is_there() {
        return;
    }
    let scene = Scene::busy(true);
    let browser = Browser::start(true);
    sign_in(&browser, &scene, READ);
    for path in [
        "/",
        "/deliveries?status=dead_lettered",
        "/destinations/orders",
        "/operations",
    ] {
        browser.open(&scene.url(path));
        browser.find("main h1");
        assert!(browser.all("main form[method=post]").is_empty(), "{path}");
        assert!(!browser.text().contains("Replay all"), "{path}");
    }
}
