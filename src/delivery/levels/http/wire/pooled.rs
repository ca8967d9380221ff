//! Connections as ureq uses them: taken out of those that wait, and put back.

use std::fmt;
use std::sync::Arc;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::delivery::levels::http::wire::connection::{BUFFER, Wire};
use crate::delivery::levels::http::wire::dial::Dialer;
use crate::delivery::levels::http::wire::idle::{Host, Idle};

/// Makes connections, and uses those that wait.
pub(in crate::delivery::levels::http) struct Pooled {
    dialer: Dialer,
    idle: Arc<Idle>,
}

impl Pooled {
    pub fn new(dialer: Dialer, idle: Arc<Idle>) -> Self {
        Self { dialer, idle }
    }
}

impl Connector for Pooled {
    type Out = Leased;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Leased>, Error> {
        // A connection with larger buffers is for one request.
        let is_usual = details.config.output_buffer_size() == BUFFER;
        let host = Host::of(details.uri).filter(|_| is_usual);
        let wire = if let Some(wire) = self.idle.take(host.as_ref())? {
            wire
        } else {
            let register = |handle| self.idle.register(handle);
            let mut wire = Box::new(self.dialer.dial(details, &register)?);
            if is_usual {
                self.idle.lend_buffers(&mut wire);
            }
            wire
        };
        Ok(Some(Leased {
            wire: Some(wire),
            host,
            idle: Arc::clone(&self.idle),
            stays: false,
        }))
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").finish_non_exhaustive()
    }
}

/// A connection of a request. Once ureq drops it, it waits for the next one, if it can.
pub(in crate::delivery::levels::http) struct Leased {
    /// None only while it is dropped.
    wire: Option<Box<Wire>>,
    /// None if no other request can use it.
    host: Option<Host>,
    idle: Arc<Idle>,
    /// Whether it can be used again. ureq asks if a connection is open after a whole answer to a
    /// request that lets it stay open, and then only: when it would put it into its own pool,
    /// which has no room.
    stays: bool,
}

impl Leased {
    fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("it is there until it is dropped")
    }
}

impl Transport for Leased {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.wire().buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stays = false;
        self.wire().transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.wire().await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        // The system is asked when it is taken out again: that saves a call for each request.
        self.stays = self.wire().is_done();
        self.stays
    }

    fn is_tls(&self) -> bool {
        self.wire.as_deref().is_some_and(Wire::is_tls)
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.stays
            && let (Some(host), Some(wire)) = (self.host.take(), self.wire.take())
        {
            self.idle.keep(host, wire);
        }
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
