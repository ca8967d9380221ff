//! A connection of one part's own: clients can't take its place.

/// A connection for the reads of one part; clones share it. All methods block.
#[derive(Clone)]
pub struct Reader {}

impl Reader {
    pub(super) fn new() -> Self {
        Self {}
    }
}
