//! Sizes that every engine keeps to. The figures are those of SQLite, where they were measured.

use std::time::Duration;

/// Entries of a delivery's history that are kept; the oldest are deleted first. Enough for five
/// schedules of the default length.
pub const MAX_HISTORY: i64 = 50;

/// Clients' operations that may wait for the writer: two full batches. Beyond it a request is
/// refused at once (503) rather than queued in memory.
pub const QUEUE: usize = 1024;

/// Places in the queue besides the clients', for relay's own operations. The dispatcher and
/// maintenance have one operation in flight at a time, and block until it is durable; a request to
/// stop sends one command. If more are sent, they wait for a place.
pub const OWN_PLACES: usize = 8;

/// Ended bulk operations deleted in one step.
pub const ENDED_DELETED_A_STEP: i64 = 200;

/// How long a bulk operation can be looked at after its end.
pub const OPERATIONS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How long samples of the used space are kept: with one in ten minutes, a thousand rows.
pub const SAMPLES_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Operations in one transaction. Accepted events a second still grow at 512 a commit (measured).
pub const MAX_BATCH: usize = 512;

/// Rows written in one transaction, entries of indexes not counted. Accepting takes 5 µs a row,
/// settling, claiming and deleting 6 to 10 µs (measured): 1 024 rows hold the writer for 5 to 10
/// ms, which bounds the wait of everything else. 512 events of one delivery each still fit. A
/// change of more rows is divided: see `LongWrite`.
pub const MAX_ROWS: usize = 1024;

/// Rows of a step while clients write. A `POST` may wait for a step and for the commit that holds
/// the next one, and 64 rows take about as long as the fsync of a commit, 0.3 ms. The 99th
/// percentile of `POST` was 3.4 times the calm one with steps of 1 024 rows, 2.1 times with 256
/// rows, 1.9 times with 64 rows (`scenarios turn`). Steps this small cost nothing there, since each
/// shares a commit that clients need anyway.
pub const ROWS_BESIDE_CLIENTS: usize = 64;

/// Rows of a change that takes one step while clients write: some 1 ms. The turns of a small pool
/// are as large, and in steps of 64 rows each delivery of a busy pipeline waits for several
/// commits: it settled a fifth less with 16 workers, with 128 rows a tenth less, with 1 024 rows as
/// much (`delivery -- pipeline`). The turns of a thousand workers have thousands of rows, and are
/// divided.
pub const UNDIVIDED_BESIDE_CLIENTS: usize = 256;

/// Bytes in one transaction: eight of the largest bodies of a source by default.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// Rows that maintenance writes in one step: two to three milliseconds of the writer's time (10 µs
/// a row, measured). A quarter of a transaction, since nobody waits for maintenance and others wait
/// behind it.
pub const STEP_ROWS: usize = 256;
