//! The clock of a test's server, for the commands that the test runs beside it: a fake clock moves,
//! and the database's doesn't.

use std::cell::RefCell;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};

thread_local! {
    static CLOCK: RefCell<Option<Arc<dyn Clock>>> = const { RefCell::new(None) };
}

/// Commands of this thread follow the clock.
pub fn follow(clock: &Arc<dyn Clock>) {
    CLOCK.with_borrow_mut(|own| *own = Some(Arc::clone(clock)));
}

pub fn now() -> Option<Timestamp> {
    CLOCK.with_borrow(|own| own.as_ref().map(|clock| clock.now()))
}
