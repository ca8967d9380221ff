//! Damage to the WAL and to its index.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::files::main_file::assert_each_refused;
use crate::files::{DATABASE, FRAME, LOCK, LeftFiles, SHM, StartResult, Tally, WAL};

/// Damages the WAL in many ways, one after the other. With the lock file in place, everything
/// acknowledged must be there; without it, a prefix that ends at a commit is enough.
fn damage_the_wal(
    name: &str,
    mut damage: impl FnMut(&LeftFiles, &mut Vec<u8>, &mut StdRng) -> String,
) {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(20, 300);
    let mut left = LeftFiles::by_a_kill(seed);
    let all = left.intents.len();
    let mut tally = Tally::default();
    let (mut least, mut most) = (usize::MAX, 0);
    for image in 0..images {
        let is_guarded = image % 2 == 0;
        let mut files = left.files.clone();
        if !is_guarded {
            files.remove(LOCK);
        }
        let wal = files.get_mut(WAL).expect("a WAL");
        let what = damage(&left, wal, &mut random);
        match left.start_on(&files) {
            StartResult::Refused(ended) => {
                assert!(is_guarded, "{what}: {}", ended.log);
                left.assert_refused(&ended, DATABASE, &files);
                assert!(ended.log.contains("-wal"), "{what}: {}", ended.log);
                tally.count("refused");
            }
            StartResult::Up => {
                let kept = left.assert_recovered();
                assert!(kept >= left.stored, "{what}: {kept} of {}", left.stored);
                if is_guarded {
                    left.assert_holds_what_was_acknowledged(&what);
                    tally.count("recovered what was acknowledged");
                } else {
                    (least, most) = (least.min(kept), most.max(kept));
                    tally.count(if kept == all {
                        "recovered all"
                    } else {
                        "recovered a part"
                    });
                }
            }
        }
    }
    left.assert_nothing_strange_arrived();
    println!(
        "{name}: {images} images, {tally}; without the lock file {least} to {most} of {all} intents, {} of them in the main file",
        left.stored
    );
    assert!(tally.of("recovered a part") > 0, "no damage did anything");
    assert!(tally.of("refused") > 0, "no damage was noticed");
}

#[test]
fn a_truncated_wal_is_recovered_to_a_commit_or_refused() {
    damage_the_wal("cut WAL", |_, wal, random| {
        let length = random.random_range(0..wal.len());
        wal.truncate(length);
        format!("cut to {length}")
    });
}

#[test]
fn a_wal_with_a_flipped_bit_is_recovered_to_a_commit_or_refused() {
    damage_the_wal("flipped WAL", |left, wal, random| {
        // The WAL has a header, too. Bytes after the last valid frame are of an earlier round.
        let end = 32 + left.frames * FRAME;
        let byte = if random.random_bool(0.5) {
            random.random_range(end - end / 10..end)
        } else {
            random.random_range(0..wal.len())
        };
        let bit = random.random_range(0..8);
        wal[byte] ^= 1 << bit;
        format!("bit {bit} of {byte}")
    });
}

#[test]
fn an_invalid_wal_index_is_rebuilt() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(5, 50);
    let mut left = LeftFiles::by_a_kill(seed);
    for image in 0..images {
        let mut files = left.files.clone();
        let index = files.get_mut(SHM).expect("an index");
        if image == 0 {
            index.clear();
        }
        index.fill_with(|| random.random());
        assert!(
            matches!(left.start_on(&files), StartResult::Up),
            "it doesn't start"
        );
        assert_eq!(left.assert_recovered(), left.intents.len());
    }
    left.assert_nothing_strange_arrived();
    println!(
        "nonsense in -shm: {images} images, each with all of {} intents",
        left.intents.len()
    );
}

/// After a kill, acknowledged events may be in the WAL only.
#[test]
fn a_missing_wal_is_refused_after_a_kill() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_kill(seed);
    let mut files = left.files.clone();
    files.remove(WAL);
    let mut alone = files.clone();
    alone.remove(SHM);
    let damaged = [("WAL".to_owned(), files), ("both".to_owned(), alone)];
    assert_each_refused("lost WAL", &mut left, &damaged, DATABASE);
}

/// After an orderly stop the WAL is empty.
#[test]
fn a_missing_wal_after_an_orderly_stop_is_no_loss() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_stop(seed, 100);
    let mut files = left.files.clone();
    files.remove(WAL);
    files.remove(SHM);
    assert!(
        matches!(left.start_on(&files), StartResult::Up),
        "it doesn't start"
    );
    assert_eq!(left.assert_recovered(), left.intents.len());
    left.assert_nothing_strange_arrived();
    println!(
        "lost WAL after a stop: all of {} intents",
        left.intents.len()
    );
}
