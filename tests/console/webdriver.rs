//! Chromium, by the protocol `WebDriver`: JSON over HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// The key under which an element's id stands.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The longest wait for something to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// A chromedriver with one browser; both end when it is dropped.
pub struct Browser {
    driver: Child,
    /// The browser's profile, which ends with it.
    profile: tempfile::TempDir,
    agent: ureq::Agent,
    session: String,
}

/// An element of the page.
#[derive(Clone, Debug)]
pub struct Element(String);

/// How a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Whether the tests can run. Without a browser they are skipped, and say so, unless
/// `RELAY_BROWSER_TESTS=required` forbids it.
pub fn is_there() -> bool {
    let found = ["chromedriver", "chromium"].map(|name| {
        let found = Command::new(name).arg("--version").output();
        found.is_ok_and(|output| output.status.success())
    });
    if found == [true, true] {
        return true;
    }
    let is_required = std::env::var("RELAY_BROWSER_TESTS").is_ok_and(|text| text == "required");
    assert!(
        !is_required,
        "chromium and chromedriver are required, and aren't installed"
    );
    eprintln!("skipped: chromium or chromedriver isn't installed");
    false
}

impl Browser {
    /// Starts a browser, with scripts or without.
    pub fn start(has_scripts: bool) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let port = port(&mut driver);
        let profile = tempfile::tempdir().expect("a temporary directory");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        let mut browser = Self {
            driver,
            agent,
            session: format!("http://127.0.0.1:{port}/session"),
            profile,
        };
        let capabilities = browser.capabilities(has_scripts);
        let created = browser.call("POST", "", Some(&capabilities));
        let id = created["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    fn capabilities(&self, has_scripts: bool) -> Value {
        let directory = format!("--user-data-dir={}", self.profile.path().display());
        let scripts = if has_scripts { 1 } else { 2 };
        json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "pageLoadStrategy": "normal",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    "--no-first-run", "--hide-scrollbars", "--force-device-scale-factor=1",
                    "--disable-background-networking", "--disable-component-update",
                    "--host-resolver-rules=MAP *.rebound.test 127.0.0.1", directory,
                ],
                "prefs": { "profile.managed_default_content_settings.javascript": scripts },
            },
        } } })
    }

    /// Makes a call of the protocol. Returns its value.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.try_call(method, path, body);
        answer.unwrap_or_else(|problem| panic!("{method} {path}: {problem}"))
    }

    fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let answer = match (method, body) {
            ("GET", _) => self.agent.get(&url).call(),
            ("DELETE", _) => self.agent.delete(&url).call(),
            (_, body) => {
                let body = body.unwrap_or(&json!({})).to_string();
                let post = self.agent.post(&url);
                post.content_type("application/json").send(body.as_bytes())
            }
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string();
        let text = body.map_err(|error| error.to_string())?;
        let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok(document["value"].clone())
        } else {
            Err(document["value"]["message"].to_string())
        }
    }

    pub fn open(&self, url: &str) {
        self.call("POST", "/url", Some(&json!({ "url": url })));
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        let url = self.call("GET", "/url", None);
        url.as_str().expect("a URL").to_owned()
    }

    pub fn title(&self) -> String {
        let title = self.call("GET", "/title", None);
        title.as_str().expect("a title").to_owned()
    }

    /// Waits for the first element of a CSS selector.
    pub fn find(&self, selector: &str) -> Element {
        self.wait_for(selector, || self.all(selector).into_iter().next())
    }

    /// The elements of a CSS selector that are there now.
    pub fn all(&self, selector: &str) -> Vec<Element> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.call("POST", "/elements", Some(&body));
        let found = found.as_array().expect("a list").iter();
        found
            .map(|one| Element(one[ELEMENT].as_str().expect("an id").to_owned()))
            .collect()
    }

    /// Waits for a link of this text.
    pub fn link(&self, text: &str) -> Element {
        self.wait_for(text, || {
            let body = json!({ "using": "partial link text", "value": text });
            let found = self.try_call("POST", "/element", Some(&body)).ok()?;
            Some(Element(found[ELEMENT].as_str()?.to_owned()))
        })
    }

    /// Waits for a button of this text.
    pub fn button(&self, text: &str) -> Element {
        let path = format!("//button[contains(normalize-space(.), '{text}')]");
        self.wait_for(text, || {
            let body = json!({ "using": "xpath", "value": path });
            let found = self.try_call("POST", "/element", Some(&body)).ok()?;
            Some(Element(found[ELEMENT].as_str()?.to_owned()))
        })
    }

    /// Waits until a condition gives something.
    pub fn wait_for<T>(&self, what: &str, condition: impl Fn() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = condition() {
                return found;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{what} isn't at {}:\n{}",
                self.url(),
                self.text()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn click(&self, Element(id): &Element) {
        self.call("POST", &format!("/element/{id}/click"), None);
    }

    /// Presses the button of this text. The page may be renewed between the look and the click.
    pub fn press(&self, text: &str) {
        self.wait_for(text, || {
            let Element(id) = self.button(text);
            self.try_call("POST", &format!("/element/{id}/click"), None)
                .ok()
        });
    }

    /// Follows the link of this text.
    pub fn follow(&self, text: &str) {
        self.wait_for(text, || {
            let Element(id) = self.link(text);
            self.try_call("POST", &format!("/element/{id}/click"), None)
                .ok()
        });
    }

    /// Fills the field of a CSS selector.
    pub fn fill(&self, selector: &str, text: &str) {
        self.wait_for(selector, || {
            let Element(id) = self.find(selector);
            self.try_call("POST", &format!("/element/{id}/clear"), None)
                .ok()?;
            let body = json!({ "text": text });
            self.try_call("POST", &format!("/element/{id}/value"), Some(&body))
                .ok()
        });
    }

    pub fn text_of(&self, Element(id): &Element) -> String {
        // The page may have been renewed meanwhile.
        let text = self.try_call("GET", &format!("/element/{id}/text"), None);
        let text = text.unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The text of the page.
    pub fn text(&self) -> String {
        let body = self.all("body");
        body.first()
            .map_or_else(String::new, |body| self.text_of(body))
    }

    /// Waits for a text on the page.
    pub fn see(&self, text: &str) {
        self.wait_for(text, || self.text().contains(text).then_some(()));
    }

    pub fn source(&self) -> String {
        let source = self.call("GET", "/source", None);
        source.as_str().unwrap_or_default().to_owned()
    }

    /// The result of a script.
    pub fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.call("POST", "/execute/sync", Some(&body))
    }

    /// The result of a script that calls its last argument.
    pub fn run_async(&self, script: &str) -> Value {
        let timeouts = json!({ "script": 60_000 });
        self.call("POST", "/timeouts", Some(&timeouts));
        let body = json!({ "script": script, "args": [] });
        self.call("POST", "/execute/async", Some(&body))
    }

    /// Makes a call of the developer tools.
    fn tools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.call("POST", "/goog/cdp/execute", Some(&body))
    }

    /// Shows pages in a theme, and in a window of this width.
    pub fn show(&self, theme: Theme, width: u32) {
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": theme.name() },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.tools("Emulation.setEmulatedMedia", &features);
        self.tools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Writes the whole page as an image below `target/console`.
    pub fn picture(&self, name: &str) -> PathBuf {
        let size = self.tools("Page.getLayoutMetrics", &json!({}));
        let size = &size["cssContentSize"];
        let height = size["height"]
            .as_f64()
            .unwrap_or(900.0)
            .clamp(400.0, 16_000.0);
        let clip = json!({
            "x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1,
        });
        self.picture_of(
            name,
            &json!({ "clip": clip, "captureBeyondViewport": true }),
        )
    }

    /// Writes the visible part of the page.
    pub fn picture_of(&self, name: &str, parameters: &Value) -> PathBuf {
        let image = self.tools("Page.captureScreenshot", parameters);
        let data = image["data"].as_str().expect("an image");
        let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/console");
        fs::create_dir_all(&target).expect("a folder");
        let path = target.join(format!("{name}.png"));
        let bytes = base64::engine::general_purpose::STANDARD.decode(data);
        fs::write(&path, bytes.expect("base64")).expect("a file");
        path
    }

    pub fn cookies(&self) -> Vec<Value> {
        let cookies = self.call("GET", "/cookie", None);
        cookies.as_array().cloned().unwrap_or_default()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        let cookie = json!({ "cookie": { "name": name, "value": value, "path": "/" } });
        self.call("POST", "/cookie", Some(&cookie));
    }

    /// The browser's messages since the last call: violations of the policy, and errors.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", Some(&json!({ "type": "browser" })));
        let entries = log.as_array().cloned().unwrap_or_default();
        let texts = entries.iter().map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("level"), text("message"))
        });
        texts.collect()
    }
}

/// The port that chromedriver says it listens at.
fn port(driver: &mut Child) -> u16 {
    let output = driver.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(output).lines();
    let port = lines.find_map(|line| {
        let line = line.ok()?;
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // Read on, so that it never waits for somebody who does.
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("chromedriver says its port")
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.try_call("DELETE", "", None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
