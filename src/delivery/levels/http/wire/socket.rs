//! A connection that never blocks by itself, in the clear or in TLS: an answer can be read while a
//! request is still being written.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::ClientConnection;

/// Reads and writes end with [`ErrorKind::WouldBlock`] instead of waiting.
pub(super) struct Socket {
    /// Shared with ureq, which shuts it down on an abort.
    stream: Arc<TcpStream>,
    tls: Option<Box<ClientConnection>>,
}

impl Socket {
    pub fn new(stream: Arc<TcpStream>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, tls: None })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The certificate that the other side has presented, in DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        let presented = self.tls.as_ref()?.peer_certificates()?;
        presented.first().map(AsRef::as_ref)
    }

    /// Begins TLS; [`Self::handshake`] continues it.
    pub fn begin_tls(&mut self, connection: ClientConnection) {
        self.tls = Some(Box::new(connection));
    }

    /// Continues the handshake as far as possible without waiting.
    pub fn handshake(&mut self) -> io::Result<()> {
        self.flush()?;
        while let Some(tls) = &mut self.tls
            && tls.is_handshaking()
        {
            if tls.read_tls(&mut &*self.stream)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let processed = tls.process_new_packets();
            // An alert tells the other side why, if it can still be sent.
            let flushed = self.flush();
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            flushed?;
        }
        Ok(())
    }

    /// Whether encrypted bytes wait to be sent.
    pub fn has_to_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Takes some of `bytes`. In TLS they are sent only once [`Self::flush`] succeeds.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return (&*self.stream).write(bytes);
        }
        // No more than these bytes are ever kept encrypted in memory.
        self.flush()?;
        match &mut self.tls {
            Some(tls) => tls.writer().write(bytes),
            None => Ok(0),
        }
    }

    /// Sends the encrypted bytes that wait to be sent.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut stream = &*self.stream;
        while let Some(tls) = &mut self.tls
            && tls.wants_write()
        {
            tls.write_tls(&mut stream)?;
        }
        Ok(())
    }

    /// Reads the available bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = &*self.stream;
        let Some(tls) = &mut self.tls else {
            return stream.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An end without a close_notify is an error: the data may be truncated.
                result => return result,
            }
            tls.read_tls(&mut stream)?;
            tls.process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            // Only the answer to a key update: it can wait for the next write.
            if tls.wants_write() {
                let _ = tls.write_tls(&mut stream);
            }
        }
    }

    /// Waits until an operation can continue. If both can, reading comes first.
    pub fn wait(&mut self, wanted: Wanted, timeout: Duration) -> io::Result<Ready> {
        let flags = match wanted {
            Wanted::Read => PollFlags::IN,
            Wanted::Write => PollFlags::OUT,
            Wanted::Both => PollFlags::IN | PollFlags::OUT,
        };
        let timeout = Timespec {
            // Anything longer is cut to 136 years.
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::from(u32::MAX)),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut descriptors = [PollFd::new(&*self.stream, flags)];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) => Ok(Ready::Late),
            Ok(_) => {
                let found = descriptors[0].revents();
                // Errors and ends are both found by reading.
                let is_readable = found.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
                Ok(if is_readable && wanted != Wanted::Write {
                    Ready::Read
                } else {
                    Ready::Write
                })
            }
            // A signal: the caller checks the time and waits again.
            Err(Errno::INTR) => Ok(Ready::Write),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the other side has sent nothing, not even the end.
    pub fn is_quiet(&mut self) -> bool {
        matches!(self.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }
}

/// The operations to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Read,
    Write,
    Both,
}

/// The result of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Bytes, the end or an error can be read.
    Read,
    /// Bytes can be written, or a write is worth a try.
    Write,
    /// The timeout has passed.
    Late,
}

/// Whether an operation has to wait for the other side.
pub(super) fn would_block(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
