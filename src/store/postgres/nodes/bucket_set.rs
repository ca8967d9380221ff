//! Sets of buckets.

/// A set of buckets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) struct BucketSet([u64; 4]);

impl BucketSet {
    pub const EMPTY: Self = Self([0; 4]);

    pub fn insert(&mut self, bucket: u8) {
        self.0[usize::from(bucket / 64)] |= 1 << (bucket % 64);
    }

    pub const fn contains(&self, bucket: u8) -> bool {
        self.0[(bucket / 64) as usize] & (1 << (bucket % 64)) != 0
    }

    pub const fn is_empty(&self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.count_ones() as usize).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|bucket| self.contains(*bucket))
    }

    /// The buckets of either.
    pub fn union(mut self, other: Self) -> Self {
        for (part, others) in self.0.iter_mut().zip(other.0) {
            *part |= others;
        }
        self
    }

    /// The buckets of both.
    pub fn both(mut self, other: Self) -> Self {
        for (part, others) in self.0.iter_mut().zip(other.0) {
            *part &= others;
        }
        self
    }

    /// The buckets of the first that the second doesn't have.
    pub fn without(mut self, other: Self) -> Self {
        for (part, others) in self.0.iter_mut().zip(other.0) {
            *part &= !others;
        }
        self
    }

    /// As the database takes them.
    pub fn to_array(self) -> Vec<i16> {
        self.iter().map(i16::from).collect()
    }
}

impl FromIterator<u8> for BucketSet {
    fn from_iter<I: IntoIterator<Item = u8>>(buckets: I) -> Self {
        let mut set = Self::EMPTY;
        buckets.into_iter().for_each(|bucket| set.insert(bucket));
        set
    }
}

impl std::fmt::Debug for BucketSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
