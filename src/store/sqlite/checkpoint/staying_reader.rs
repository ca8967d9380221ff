//! Tells a reader that stays from readers that come and go: with these, each checkpoint gets
//! further than the one before it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::sqlite::limits::TRUNCATE_FRAMES;

/// A reader that keeps its snapshot for longer is reported, however small the WAL is: longer than
/// any of relay's own reads.
const STAYS: Duration = Duration::from_secs(60);

/// A reader that stays.
#[derive(Debug, Default)]
pub struct StayingReader {
    snapshot: Option<Snapshot>,
    /// Frames in the log when a staying reader was last reported; 0 if it wasn't.
    reported: i64,
    /// When the reported reader was first in the way.
    reported_since: Duration,
}

#[derive(Debug)]
struct Snapshot {
    /// Frames that can be moved beside it.
    moved: i64,
    /// When it was first in the way, by the monotonic clock.
    first: Duration,
    /// The same as a time.
    since: Timestamp,
}

/// Something to report.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Stays { since: Timestamp },
    IsGone { stayed: Duration },
}

impl StayingReader {
    /// Whether a reader keeps frames from being moved.
    pub fn is_there(&self) -> bool {
        self.snapshot.is_some()
    }

    /// A checkpoint found `frames` in the log, and moved the first `moved` of them. A staying
    /// reader is reported when the WAL is larger than it should be or the reader stays for long,
    /// and again when the WAL has doubled. Its end is reported if it was.
    pub fn observe(
        &mut self,
        frames: i64,
        moved: i64,
        now: Duration,
        time: Timestamp,
    ) -> Option<News> {
        if moved == frames {
            self.snapshot = None;
            let was_reported = std::mem::take(&mut self.reported) > 0;
            return was_reported.then(|| News::IsGone {
                stayed: now.saturating_sub(self.reported_since),
            });
        }
        let snapshot = match &mut self.snapshot {
            Some(snapshot) if snapshot.moved == moved => snapshot,
            other => other.insert(Snapshot {
                moved,
                first: now,
                since: time,
            }),
        };
        let is_due = if self.reported == 0 {
            let stays = now.saturating_sub(snapshot.first) >= STAYS;
            stays || frames - moved >= TRUNCATE_FRAMES
        } else {
            frames >= (2 * self.reported).max(TRUNCATE_FRAMES)
        };
        if !is_due {
            return None;
        }
        if self.reported == 0 {
            self.reported_since = snapshot.first;
        }
        self.reported = frames;
        Some(News::Stays {
            since: snapshot.since,
        })
    }
}
