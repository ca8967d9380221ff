//! What an attempt's time is spent on. ureq resolves and connects on the thread that makes the
//! request, so the worker's own thread remembers.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::delivery::outcome::Trace;

/// Addresses of a name that a history shows.
const SHOWN_ADDRESSES: usize = 4;

thread_local! {
    static UNDER_WAY: RefCell<Trace> = RefCell::default();
}

/// Begins anew.
pub(super) fn begin() {
    UNDER_WAY.take();
}

/// What there is so far.
pub(super) fn take() -> Trace {
    UNDER_WAY.take()
}

/// Looking up a name took so long, and led here.
pub(super) fn resolved(addresses: &[SocketAddr], took: Duration) {
    let mut shown = String::new();
    for address in addresses.iter().take(SHOWN_ADDRESSES) {
        let comma = if shown.is_empty() { "" } else { ", " };
        write!(shown, "{comma}{}", address.ip()).expect("a String takes all");
    }
    UNDER_WAY.with_borrow_mut(|trace| {
        trace.resolve = Some(took);
        trace.address = Some(shown);
    });
}

/// The answer's headers were there after so long.
pub(super) fn first_byte(took: Duration) {
    UNDER_WAY.with_borrow_mut(|trace| trace.first_byte = Some(took));
}

/// Making a connection took so long, TLS included.
pub(super) fn connected(took: Duration) {
    UNDER_WAY.with_borrow_mut(|trace| trace.connect = Some(took));
}
