//! Numbers that name stored things. How a number relates to a row or to a time is the engine's
//! secret: only the engine makes them from numbers, or reads the numbers.

use std::fmt;

use crate::clock::Timestamp;
use crate::model::IntentId;

/// Declares an id: a number that only the store sees.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(in crate::store) i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        #[cfg(test)]
        impl $name {
            /// An id of the test's choice.
            pub const fn of_test(number: i64) -> Self {
                Self(number)
            }
        }
    };
}

id! {
    /// A destination: a named one, or the origin of an ad hoc URL.
    DestinationId
}

/// Less than the id of every stored destination.
impl Default for DestinationId {
    fn default() -> Self {
        Self(0)
    }
}

#[cfg(test)]
impl DestinationId {
    /// The number of the test's choice.
    pub const fn number(self) -> i64 {
        self.0
    }
}

id! {
    /// A stored intent. Greater ones were accepted later.
    IntentRow
}

impl IntentRow {
    /// The row of an intent's id.
    pub fn of(id: IntentId) -> Self {
        Self(id.row())
    }

    /// The first row of a time: intents accepted earlier are in rows below it.
    pub fn first_at(time: Timestamp) -> Self {
        Self(IntentId::first_row_at(time.as_millis()))
    }

    /// When the intent of this row was accepted.
    pub fn accepted_at(self) -> Timestamp {
        Timestamp::from_millis(IntentId::millis_of(self.0))
    }
}

id! {
    /// The API key that an ad hoc origin belongs to.
    OwnerId
}

id! {
    /// A claim: marks deliveries as taken by one transaction of the dispatcher.
    ClaimId
}

impl ClaimId {
    /// The first claim of a process. No claim of an earlier process is left, so any number will do;
    /// a random one makes a mistake there visible.
    pub fn first() -> Self {
        Self((i64::from(rand::random::<u32>()) << 24) + 1)
    }

    /// The claim after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Whether the attempt is still to begin: the delivery was prefetched, so a crash has
    /// interrupted nothing. The engine stores such a claim as a negative number.
    pub const fn is_prefetched(self) -> bool {
        self.0 < 0
    }

    /// The same claim on prefetched deliveries.
    #[must_use]
    pub(in crate::store) const fn prefetched(self) -> Self {
        Self(-self.0)
    }
}

/// A bulk operation on dead letters, as operators name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BulkId(pub(in crate::store) i64);

impl fmt::Display for BulkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for BulkId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl std::str::FromStr for BulkId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| "expected the number of a job")
    }
}

/// A secret that a source has learned, as operators name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LearnedSecretId(pub(in crate::store) i64);

impl fmt::Display for LearnedSecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for LearnedSecretId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl std::str::FromStr for LearnedSecretId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| "expected the number of a secret")
    }
}
