//! Connections that requests share.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::retry::{Connector, Link};

/// Up to a number of links, which connect when they are first needed.
pub struct Pool {
    connector: Arc<Connector>,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Link>,
    /// Links that may still be made.
    left: u32,
}

/// A link of the pool, which goes back when it is dropped.
pub struct Lent<'a> {
    pool: &'a Pool,
    /// None once it has gone back.
    link: Option<Link>,
}

impl Pool {
    pub fn new(connector: Arc<Connector>, size: u32) -> Self {
        let state = State {
            idle: Vec::new(),
            left: size,
        };
        Self {
            connector,
            state: Mutex::new(state),
            returned: Condvar::new(),
        }
    }

    /// A link for one call; none if all were lent for so long. Blocks.
    pub fn get(&self, wait: Duration) -> Option<Lent<'_>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_empty = |state: &mut State| state.idle.is_empty() && state.left == 0;
        let (mut state, _) = self
            .returned
            .wait_timeout_while(state, wait, is_empty)
            .unwrap_or_else(PoisonError::into_inner);
        let link = match state.idle.pop() {
            Some(link) => link,
            None if state.left > 0 => {
                state.left -= 1;
                self.connector.link()
            }
            None => return None,
        };
        Some(Lent {
            pool: self,
            link: Some(link),
        })
    }
}

impl Lent<'_> {
    pub fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("it goes back when it is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self
            .pool
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.idle.extend(self.link.take());
        self.pool.returned.notify_one();
    }
}
