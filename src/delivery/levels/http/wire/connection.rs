//! A connection that sends a request and reads its answer at the same time.

use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use crate::delivery::levels::http::wire::deadline::{Deadline, Now};
use crate::delivery::levels::http::wire::head::Head;
use crate::delivery::levels::http::wire::socket::{Ready, Socket, Wanted, would_block};

/// Each of a connection's two buffers, in bytes. It has none while it idles. An answer's headers
/// may be larger (`head.rs`): then they take up to 64 KiB more until they are read, at most 4 MiB
/// with 64 workers. A longer line of a request's head takes a larger buffer for this one request,
/// within `server.max_header_bytes`.
pub(in crate::delivery::levels::http) const BUFFER: usize = 16 * 1024;
/// Bytes of a head that are read at once; most heads have a few hundred.
const CHUNK: usize = 4 * 1024;
/// After this pause without taking more of the body, the 2xx of a receiver that answered early
/// counts as it is. A decision: a receiver that still reads takes some bytes within a round trip.
const EARLY_PATIENCE: Duration = Duration::from_secs(1);

/// A connection, as ureq uses it.
pub(in crate::delivery::levels::http) struct Wire {
    socket: Socket,
    buffers: LazyBuffers,
    now: Now,
    phase: Phase,
    /// Bytes of the body that were read with the head, and the number of those given to ureq.
    body: (Vec<u8>, usize),
    /// Whether a part of the request was not sent: then no other request can be sent.
    is_cut_short: bool,
    /// Whether the other side sends nothing more.
    is_ended: bool,
    /// Where the `Date` of an answer is kept; none if nobody wants it.
    date: Option<Arc<OnceLock<String>>>,
}

enum Phase {
    /// The request is being sent, or the head of its answer is being read.
    Asking(Head),
    /// The head was given to ureq.
    Answered,
}

impl Wire {
    pub(super) fn new(socket: Socket, buffers: LazyBuffers, now: Now) -> Self {
        Self {
            socket,
            buffers,
            now,
            phase: Phase::Answered,
            body: (Vec::new(), 0),
            is_cut_short: false,
            is_ended: false,
            date: None,
        }
    }

    /// Keeps the `Date` of the first answer.
    pub fn keep_date(&mut self, place: Arc<OnceLock<String>>) {
        self.date = Some(place);
    }

    /// The certificate that the other side has presented, in DER; none without TLS.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.socket.certificate()
    }

    #[cfg(test)]
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether the request was sent whole, and its answer read whole.
    pub(super) fn is_done(&self) -> bool {
        !self.is_cut_short && !self.is_ended && self.body.0.is_empty()
    }

    /// Takes the buffers of a connection that has no request. It makes others if it needs them.
    pub(super) fn take_buffers(&mut self) -> LazyBuffers {
        std::mem::replace(&mut self.buffers, LazyBuffers::new(BUFFER, BUFFER))
    }

    pub(super) fn set_buffers(&mut self, buffers: LazyBuffers) {
        self.buffers = buffers;
    }

    /// Sends the first `amount` bytes of the output buffer, unless an answer makes that pointless.
    fn send(&mut self, amount: usize, deadline: &Deadline<'_>) -> Result<(), Error> {
        let mut sent = 0;
        // Most receivers take a request whole: an early answer is looked for only once the other
        // side is slow to take more.
        loop {
            let step = if sent < amount {
                let rest = &self.buffers.output()[sent..amount];
                self.socket.write(rest)
            } else {
                self.socket.flush().map(|()| 0)
            };
            match step {
                Ok(0) if sent == amount => return Ok(()),
                Ok(taken) => sent += taken,
                Err(error) if would_block(&error) => {
                    if self.wait_to_send(deadline)? {
                        self.is_cut_short = true;
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.failed_to_send(error, deadline),
            }
        }
    }

    /// Waits until more can be sent. Returns whether an answer makes that pointless.
    fn wait_to_send(&mut self, deadline: &Deadline<'_>) -> Result<bool, Error> {
        let left = deadline.left()?;
        let status = self.early_status();
        let is_accepted = status.is_some_and(|status| (200..300).contains(&status));
        let (wanted, patience) = match status {
            // The receiver has answered, and may or may not take the rest of the body.
            Some(_) => (Wanted::Write, left.min(EARLY_PATIENCE)),
            None if self.is_ended => (Wanted::Write, left),
            None => (Wanted::Both, left),
        };
        match self.socket.wait(wanted, patience)? {
            Ready::Write => Ok(false),
            Ready::Late if is_accepted => Ok(true),
            Ready::Late => Err(deadline.missed()),
            Ready::Read => {
                self.read_head()?;
                let status = self.early_status();
                Ok(status.is_some_and(|status| !(200..300).contains(&status)))
            }
        }
    }

    /// The other side takes no more: it has answered, or it is gone.
    fn failed_to_send(&mut self, error: IoError, deadline: &Deadline<'_>) -> Result<(), Error> {
        self.is_cut_short = true;
        // Linux keeps the bytes that arrived before a reset for reading.
        while self.early_status().is_none() && !self.is_ended {
            if !self.read_head()?
                && self.socket.wait(Wanted::Read, deadline.left()?)? == Ready::Late
            {
                return Err(error.into());
            }
        }
        match self.early_status() {
            Some(_) => Ok(()),
            None => Err(error.into()),
        }
    }

    /// The status of an answer whose head is complete.
    fn early_status(&self) -> Option<u16> {
        match &self.phase {
            Phase::Asking(head) if head.is_over() => Some(head.status().unwrap_or(0)),
            _ => None,
        }
    }

    /// Reads the available bytes of an answer's head. Returns whether there were any, or the end.
    fn read_head(&mut self) -> Result<bool, Error> {
        let Phase::Asking(head) = &mut self.phase else {
            return Ok(false);
        };
        let mut chunk = [0; CHUNK];
        let mut is_any = false;
        while !head.is_over() {
            match self.socket.read(&mut chunk) {
                Ok(0) => {
                    self.is_ended = true;
                    return Ok(true);
                }
                Ok(read) => {
                    is_any = true;
                    head.feed(&chunk[..read])
                        .map_err(|error| Error::Other(Box::new(error)))?;
                }
                Err(error) if would_block(&error) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The write that failed before reports the same error. Only TLS tells more.
                Err(error) if self.is_cut_short && error.kind() != ErrorKind::InvalidData => {
                    self.is_ended = true;
                    return Ok(true);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_any)
    }

    /// Gives ureq the bytes of the body that were read and fit.
    fn give_body(&mut self) -> bool {
        let (bytes, given) = &mut self.body;
        let rest = &bytes[*given..];
        let room = self.buffers.input_append_buf();
        let amount = rest.len().min(room.len());
        room[..amount].copy_from_slice(&rest[..amount]);
        self.buffers.input_appended(amount);
        *given += amount;
        if *given == bytes.len() {
            // An idle connection keeps no memory for it.
            self.body = (Vec::new(), 0);
        }
        amount > 0
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Phase::Answered = self.phase {
            self.phase = Phase::Asking(Head::default());
        }
        if self.is_cut_short {
            return Ok(());
        }
        let now = Arc::clone(&self.now);
        let deadline = Deadline::new(timeout.for_write(), now(), &now);
        self.send(amount, &deadline)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let now = Arc::clone(&self.now);
        let deadline = Deadline::new(timeout.for_read(), now(), &now);
        // Right after a request hardly any answer is there: in the clear a read before the wait
        // would be one more call of the system for each attempt. TLS may hold decrypted bytes.
        let mut may_be_there = self.socket.is_tls();
        while let Phase::Asking(head) = &mut self.phase {
            if head.is_over() {
                if let Some(place) = &self.date
                    && let Some(date) = head.date()
                {
                    place.get_or_init(|| date);
                }
                let (short, body) = std::mem::take(head)
                    .finish()
                    .map_err(|error| Error::Other(Box::new(error)))?;
                self.phase = Phase::Answered;
                // The head first: it fits any buffer.
                self.body = (short, 0);
                self.give_body();
                self.body = (body, 0);
                return Ok(true);
            }
            if self.is_ended {
                return Ok(false);
            }
            if !(may_be_there && self.read_head()?)
                && self.socket.wait(Wanted::Read, deadline.left()?)? == Ready::Late
            {
                return Err(deadline.missed());
            }
            may_be_there = true;
        }
        if !self.body.0.is_empty() {
            return Ok(self.give_body());
        }
        loop {
            match self.socket.read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) if would_block(&error) => {
                    if self.socket.wait(Wanted::Read, deadline.left()?)? == Ready::Late {
                        return Err(deadline.missed());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Unexpected bytes would be taken for the next answer.
        self.is_done() && self.socket.is_quiet()
    }

    fn is_tls(&self) -> bool {
        self.socket.is_tls()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("to", &self.socket.stream().peer_addr().ok())
            .finish_non_exhaustive()
    }
}
