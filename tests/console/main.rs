//! The console in a browser: headless Chromium, driven by the protocol `WebDriver`.
//!
//! - `webdriver`: the browser. `scene`: a relay with everything that the console shows.
//! - `pages`: each page in both themes and two widths: accessible, within its width, without a
//!   violation of its policy, and pictured below `target/console`. `looks.js` complains of texts
//!   that are cut or covered, and of rows out of line.
//!   `nodes`: the page of nodes, of a database of PostgreSQL.
//! - `flows`: people at work, with scripts and without.
//! - `hostile`: payloads and names that would do harm. `attacks`: rebinding, other sites' forms,
//!   fixed sessions and guesses.
//!
//! Without `chromium` and `chromedriver` the tests in a browser are skipped, and say so;
//! `RELAY_BROWSER_TESTS=required` forbids that. `RELAY_AXE` is the path of axe-core's `axe.min.js`,
//! without which accessibility is not checked.

mod attacks;
mod flows;
mod hostile;
#[cfg(feature = "postgres")]
mod nodes;
mod pages;
mod scene;
#[path = "../it/support/mod.rs"]
mod support;
mod webdriver;
