use tokio::sync::mpsc::channel;

use super::*;
use crate::clock::Timestamp;
use crate::model::{IntentId, Surface};
use crate::store::{TailEntry, TailEvent};

fn page(sources: &[&str]) -> TailPage {
    let entries = sources.iter().map(|source| TailEntry {
        at: Timestamp::from_millis(0),
        id: IntentId::new(1, 2),
        surface: Surface::Event,
        label: (*source).to_owned(),
        event_type: None,
        what: TailEvent::Accepted {
            bytes: 2,
            destinations: Vec::new(),
        },
    });
    TailPage {
        entries: entries.collect(),
        ..TailPage::default()
    }
}

/// The names of the queued events, with the label or the number that each has.
fn queued(from: &mut tokio::sync::mpsc::Receiver<Bytes>) -> Vec<String> {
    std::iter::from_fn(|| from.try_recv().ok())
        .map(|chunk| {
            let text = String::from_utf8(chunk.to_vec()).expect("text");
            let (name, data) = text.split_once('\n').expect("two lines");
            let data = data.strip_prefix("data: ").expect("data").trim_end();
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            let name = name.strip_prefix("event: ").expect("a name");
            let more = data["label"].as_str().map(str::to_owned);
            format!("{name} {}", more.unwrap_or(data["missed"].to_string()))
        })
        .collect()
}

/// Queues the entries of a page for a client that isn't waited for.
fn deliver(outlet: &mut Outlet, page: &TailPage) -> Result<(), Gone> {
    wait(outlet.deliver(page, Some(Duration::ZERO)))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn a_client_that_does_not_read_is_told_how_many_entries_it_missed() {
    let (to, mut from) = channel(2);
    let mut outlet = Outlet::new(to);
    deliver(&mut outlet, &page(&["a", "b", "c", "d", "e"])).expect("a client");
    assert_eq!(queued(&mut from), ["accepted a", "accepted b"]);
    deliver(&mut outlet, &page(&["f", "g"])).expect("a client");
    assert_eq!(queued(&mut from), ["gap 3", "accepted f"]);
    deliver(&mut outlet, &page(&[])).expect("a client");
    assert_eq!(queued(&mut from), ["gap 1"]);
    deliver(&mut outlet, &page(&["h"])).expect("a client");
    assert_eq!(queued(&mut from), ["accepted h"]);
    drop(from);
    assert!(deliver(&mut outlet, &page(&["i"])).is_err(), "it is gone");
}

#[test]
fn a_gap_in_the_store_s_own_entries_is_told() {
    let (to, mut from) = channel(8);
    let mut outlet = Outlet::new(to);
    let page = TailPage {
        has_gap: true,
        ..page(&["a"])
    };
    deliver(&mut outlet, &page).expect("a client");
    assert_eq!(queued(&mut from), ["gap 1", "accepted a"]);
}

#[test]
fn a_quiet_tail_sends_a_comment_now_and_then() {
    let (to, mut from) = channel(8);
    let mut outlet = Outlet::new(to);
    for _ in 0..LOOKS_UNTIL_COMMENT {
        assert!(from.try_recv().is_err(), "not before");
        deliver(&mut outlet, &page(&[])).expect("a client");
    }
    assert_eq!(from.try_recv().expect("a comment"), &b":\n\n"[..]);
}

#[test]
fn the_past_waits_for_its_client() {
    let (to, mut from) = channel(2);
    let mut outlet = Outlet::new(to);
    let sources = ["a", "b", "c", "d", "e"];
    let page = page(&sources);
    let read = async {
        let mut read = Vec::new();
        while read.len() < sources.len() {
            tokio::task::yield_now().await;
            read.extend(queued(&mut from));
        }
        read
    };
    let (sent, read) = wait(async { tokio::join!(outlet.deliver(&page, None), read) });
    sent.expect("a client");
    assert_eq!(read, sources.map(|source| format!("accepted {source}")));
}
