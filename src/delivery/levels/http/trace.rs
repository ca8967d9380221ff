//! The durations of an attempt's steps. ureq resolves and connects on the thread that makes the
//! request, so a thread-local variable holds them.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::delivery::outcome::Trace;

/// Addresses of a name that the history shows.
const SHOWN_ADDRESSES: usize = 4;

thread_local! {
    static CURRENT: RefCell<Trace> = RefCell::default();
}

/// Begins an attempt's trace.
pub(super) fn begin() {
    CURRENT.take();
}

/// Takes the trace so far.
pub(super) fn take() -> Trace {
    CURRENT.take()
}

/// Records a look-up: its addresses and its duration.
pub(super) fn resolved(addresses: &[SocketAddr], took: Duration) {
    let mut shown = String::new();
    for address in addresses.iter().take(SHOWN_ADDRESSES) {
        let comma = if shown.is_empty() { "" } else { ", " };
        write!(shown, "{comma}{}", address.ip()).expect("a String takes all");
    }
    CURRENT.with_borrow_mut(|trace| {
        trace.resolve = Some(took);
        trace.address = Some(shown);
    });
}

/// Records a look-up of the proxy, in whose place the destination's addresses are not known.
pub(super) fn resolved_proxy(addresses: &[SocketAddr], took: Duration) {
    resolved(addresses, took);
    CURRENT.with_borrow_mut(|trace| {
        let shown = trace.address.take().unwrap_or_default();
        trace.address = Some(format!("proxy {shown}"));
    });
}

/// Records the time until the answer's headers were read.
pub(super) fn first_byte(took: Duration) {
    CURRENT.with_borrow_mut(|trace| trace.first_byte = Some(took));
}

/// Records the time of the TLS handshake.
pub(super) fn shook_hands(took: Duration) {
    CURRENT.with_borrow_mut(|trace| trace.tls = Some(took));
}

/// Records the time of connecting, TLS included.
pub(super) fn connected(took: Duration) {
    CURRENT.with_borrow_mut(|trace| trace.connect = Some(took));
}
