//! Why the store cannot take writes.

/// Why the store cannot take writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Unready {
    /// There is less free space than `database.min_free_bytes`.
    LowOnSpace = 1,
    /// `database.max_bytes` are used.
    BudgetSpent,
    /// The last batch was refused: the disk is full.
    DiskFull,
    /// The last batch was refused: another process held the database.
    Locked,
    /// The last batch was refused for another reason; the log has it.
    Refused,
    /// The writer has been at one batch for too long: an fsync that hangs, say.
    Stalled,
    /// The writer has ended: the process is about to.
    Ended,
}

impl Unready {
    /// One sentence for a client; it reveals nothing about the stored data.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::LowOnSpace => {
                "too little free space on the database's disk (database.min_free_bytes)"
            }
            Self::BudgetSpent => "the database has reached database.max_bytes",
            Self::DiskFull => "the database's disk is full",
            Self::Locked => "another process keeps the database locked",
            Self::Refused => "the database refuses writes",
            Self::Stalled => "the database takes too long to answer",
            Self::Ended => "the database does not answer",
        }
    }
}
