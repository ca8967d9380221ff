//! Rendezvous hashing: which slot should own a bucket.
//!
//! Each pair of a slot and a bucket has a score, and the living slot with the highest one should
//! own the bucket. So a node that joins or leaves moves only the buckets that it gains or loses,
//! and one that restarts with its slot gets the same buckets back.

/// The slot that should own the bucket; none without slots.
pub(super) fn owner(bucket: u8, slots: impl Iterator<Item = u8>) -> Option<u8> {
    slots.max_by_key(|slot| (score(bucket, *slot), *slot))
}

/// The finalizer of `SplitMix64`, over both numbers: neighbours get unrelated scores.
fn score(bucket: u8, slot: u8) -> u64 {
    let mut mixed = (u64::from(bucket) << 8 | u64::from(slot)) + 1;
    mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::owner;

    fn shares(slots: &[u8]) -> Vec<usize> {
        let owners = (0..=u8::MAX).filter_map(|bucket| owner(bucket, slots.iter().copied()));
        let owners: Vec<_> = owners.collect();
        let share = |slot: &u8| owners.iter().filter(|owner| *owner == slot).count();
        slots.iter().map(share).collect()
    }

    #[test]
    fn buckets_are_spread_over_all_slots() {
        assert_eq!(owner(7, std::iter::empty()), None);
        for slots in 1..=32_u8 {
            let shares = shares(&(0..slots).collect::<Vec<_>>());
            assert_eq!(shares.iter().sum::<usize>(), 256);
            let fair = 256 / usize::from(slots);
            assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
            assert!(
                shares.iter().all(|share| *share <= 2 * fair + 8),
                "{shares:?}"
            );
        }
    }

    #[test]
    fn a_slot_that_joins_takes_buckets_from_all_and_moves_no_other() {
        for bucket in 0..=u8::MAX {
            let (before, after) = (owner(bucket, 0..3), owner(bucket, 0..4));
            assert!(after == before || after == Some(3), "{bucket}");
        }
    }
}
