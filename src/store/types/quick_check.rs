//! The result of a check of the database's structure.

/// The result of a check of the database's structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QuickCheck {
    /// Nothing is damaged.
    Fine,
    /// The problems, as far as they were looked for.
    Damaged(Vec<String>),
    /// The time was over before the end, and nothing was found until then.
    Unfinished,
}
