//! The bounded queue between the threads that log and the thread that writes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ops::metrics;

/// Unwritten lines, at most. At level debug a request and its delivery log four lines, so this is
/// the log of a thousand events: a second in which the reader stalls. At level info it is the log
/// of hours.
pub(super) const MAX_LINES: usize = 4096;
/// Unwritten bytes, at most: 256 for each of [`MAX_LINES`], the usual size of a JSON line. At level
/// trace the lines of the TLS library are longer, and this bound is reached first.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The share of both bounds that is reserved for warnings and errors, one in this many: a flood at
/// level trace must not cost the line that explains the end of the process.
pub(super) const RESERVED: usize = 8;
/// The low-water mark: a full queue accepts lines again below this share of both bounds, one in
/// this many. So a slow reader finds a few long gaps, each with its report, rather than many
/// short ones.
pub(super) const LOW_WATER: usize = 2;
/// Bytes of one write, at most, unless a single line is longer. POSIX writes this many to a pipe
/// atomically (`PIPE_BUF` on Linux), so that lines of another process that shares the pipe don't
/// come in between.
const WRITE_BYTES: usize = 4096;
/// The pause before the next try if standard error doesn't block: a process that shares it has set
/// `O_NONBLOCK`.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(20);

/// Formats the line that reports a number of dropped lines.
type Report = fn(u64) -> Vec<u8>;

pub(super) struct Queue {
    state: Mutex<QueueState>,
    has_lines: Condvar,
    has_written: Condvar,
    report: Report,
}

#[derive(Default)]
struct QueueState {
    lines: VecDeque<QueuedLine>,
    /// Unwritten lines: those in the queue, and those being written.
    pending: usize,
    /// The memory of the unwritten lines, in bytes.
    bytes: usize,
    /// Whether the queue was full, and hasn't been below [`LOW_WATER`] since.
    is_dropping: bool,
    /// Dropped lines that no queued report counts.
    unreported: u64,
    /// Whether the writer waits for lines.
    is_idle: bool,
    /// Callers that wait in [`Queue::flush`].
    flushing: usize,
}

struct QueuedLine {
    text: Vec<u8>,
    /// The dropped lines that this line reports; none if it is an ordinary line.
    reports: Option<u64>,
}

impl QueueState {
    fn fits(&self, bytes: usize, lines_allowed: usize, bytes_allowed: usize) -> bool {
        self.pending < lines_allowed && self.bytes + bytes <= bytes_allowed
    }

    fn queue(&mut self, text: Vec<u8>, reports: Option<u64>) {
        self.pending += 1;
        self.bytes += text.capacity();
        self.lines.push_back(QueuedLine { text, reports });
    }

    fn drop_lines(&mut self, lines: u64) {
        self.unreported += lines;
        metrics::log_lines_dropped(lines);
    }
}

impl Queue {
    /// An empty queue. `report` formats the line that reports dropped lines.
    pub fn new(report: Report) -> Self {
        Self {
            state: Mutex::default(),
            has_lines: Condvar::new(),
            has_written: Condvar::new(),
            report,
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // The state stays whole whatever panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line, which ends with a line feed, or drops it. Never blocks. An urgent line may
    /// use the reserve.
    pub fn push(&self, line: Vec<u8>, is_urgent: bool) {
        let mut state = self.lock();
        if state.is_dropping && state.fits(0, MAX_LINES / LOW_WATER, MAX_BYTES / LOW_WATER) {
            state.is_dropping = false;
        }
        let has_room = if is_urgent {
            state.fits(line.capacity(), MAX_LINES, MAX_BYTES)
        } else {
            let (lines, bytes) = (MAX_LINES / RESERVED, MAX_BYTES / RESERVED);
            !state.is_dropping && state.fits(line.capacity(), MAX_LINES - lines, MAX_BYTES - bytes)
        };
        if !has_room {
            state.is_dropping = true;
            state.drop_lines(1);
            return;
        }
        if !state.is_dropping {
            self.report_dropped(&mut state);
        }
        state.queue(line, None);
        if std::mem::take(&mut state.is_idle) {
            self.has_lines.notify_one();
        }
    }

    fn report_dropped(&self, state: &mut QueueState) {
        let dropped = std::mem::take(&mut state.unreported);
        if dropped > 0 {
            state.queue((self.report)(dropped), Some(dropped));
        }
    }

    /// Waits until everything is written, for at most `within`. Returns whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        let mut state = self.lock();
        state.flushing += 1;
        let is_unwritten = |state: &mut QueueState| state.pending > 0 || state.is_dropping;
        let (mut state, _) = self
            .has_written
            .wait_timeout_while(state, within, is_unwritten)
            .unwrap_or_else(PoisonError::into_inner);
        state.flushing -= 1;
        !is_unwritten(&mut state)
    }

    /// Writes the queued lines, for ever.
    pub fn write_to(&self, out: &mut impl Write) {
        let (mut lines, mut buffer) = (Vec::new(), Vec::new());
        // Whether the last write ended within a line.
        let mut is_torn = false;
        loop {
            self.take(&mut lines);
            buffer.clear();
            // A huge line must not stay in memory.
            buffer.shrink_to(4 * WRITE_BYTES);
            if is_torn {
                buffer.push(b'\n');
            }
            let before = buffer.len();
            for line in &lines {
                buffer.extend_from_slice(&line.text);
            }
            let written = write_all(out, &buffer);
            is_torn = match written {
                Ok(()) => false,
                Err(0) => is_torn,
                Err(written) => buffer[written - 1] != b'\n',
            };
            self.finish_write(
                &mut lines,
                written.map_err(|all| all.saturating_sub(before)),
            );
        }
    }

    /// Waits for lines, and takes those of one write.
    fn take(&self, lines: &mut Vec<QueuedLine>) {
        let mut state = self.lock();
        while state.lines.is_empty() {
            if std::mem::take(&mut state.is_dropping) {
                self.report_dropped(&mut state);
                continue;
            }
            if state.flushing > 0 {
                self.has_written.notify_all();
            }
            state.is_idle = true;
            state = self
                .has_lines
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        while let Some(line) = state.lines.front()
            && (lines.is_empty() || bytes + line.text.len() <= WRITE_BYTES)
        {
            bytes += line.text.len();
            lines.extend(state.lines.pop_front());
        }
    }

    /// Removes the lines of a write from the counts. An error is the number of bytes that were
    /// written: the lines that end after them are lost.
    fn finish_write(&self, lines: &mut Vec<QueuedLine>, written: Result<(), usize>) {
        let mut state = self.lock();
        let mut end = 0;
        for line in lines.drain(..) {
            state.pending -= 1;
            state.bytes -= line.text.capacity();
            end += line.text.len();
            if written.is_err_and(|written| written < end) {
                match line.reports {
                    None => state.drop_lines(1),
                    Some(dropped) => state.unreported += dropped,
                }
            }
        }
    }
}

/// Writes everything. An error is the number of bytes that were written before it.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(some) => written += some,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(WOULD_BLOCK_PAUSE);
            }
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// Standard error without the standard library's lock: a direct write must not wait for one that
/// hangs.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(rustix::io::write(std::io::stderr().as_fd(), bytes)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
