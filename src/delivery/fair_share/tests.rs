use super::*;
use crate::store::{DestinationId, OwnerId};
use proptest::prelude::*;

/// A lane's candidates: the ready deliveries of each, and the workers that it may have.
type Wishes = Vec<(usize, usize)>;

fn share_out(free: usize, lanes: &[Wishes]) -> (FairShare, impl Fn(i64) -> usize) {
    let config = crate::Config::default().resolve();
    let limits: Vec<usize> = lanes.iter().flatten().map(|(_, limit)| *limit).collect();
    let limit = move |id: i64| limits[usize::try_from(id).expect("small")];
    let mut shares = FairShare::new(free);
    let lanes = (0_i64..).zip(lanes);
    let all = lanes.flat_map(|(lane, wishes)| wishes.iter().map(move |wish| (lane, wish)));
    let candidates = (0_i64..).zip(all).map(|(id, (lane, (ready, _)))| {
        let turn = |place: i64| Turn {
            round: 0,
            place: place.unsigned_abs(),
        };
        let candidate = Candidate {
            target: Arc::new(Target::new(
                DestinationId::of_test(id),
                "http://x",
                &config,
                true,
            )),
            lane: Lane::Adhoc(Some(OwnerId::of_test(lane)), Reputation::Proven),
            turn: turn(id),
            cost: 1,
            reputation: Reputation::Proven,
            in_flight: 0,
            prefetched: 0,
            ready: *ready,
            share: 0,
            refused: None,
        };
        (turn(lane), candidate)
    });
    shares.offer(candidates);
    shares.assign(|candidate| {
        if candidate.share < limit(candidate.target.id.number()) {
            Ok(())
        } else {
            Err(Refusal::UntilAnAttemptEnds)
        }
    });
    (shares, limit)
}

fn by_lane(candidates: &[Candidate]) -> HashMap<Lane, usize> {
    let mut given = HashMap::new();
    for candidate in candidates {
        *given.entry(candidate.lane).or_default() += candidate.share;
    }
    given
}

fn wishes() -> impl Strategy<Value = Wishes> {
    prop::collection::vec((0usize..40, 0usize..40), 0..9)
}

proptest! {
    #[test]
    fn lanes_get_equal_shares_and_no_worker_stays_idle(
        free in 0usize..100,
        lanes in prop::collection::vec(wishes(), 0..12),
    ) {
        let (shares, limit) = share_out(free, &lanes);
        let takable = |wishes: &Wishes| {
            let each = wishes.iter().map(|(ready, most)| *ready.min(most));
            each.sum::<usize>()
        };
        let all: usize = lanes.iter().map(takable).sum();
        prop_assert_eq!(shares.free(), free - free.min(all));
        let candidates = shares.into_shares().candidates;
        let given = by_lane(&candidates);
        prop_assert_eq!(given.values().sum::<usize>(), free.min(all));
        let shared: usize = candidates.iter().map(|candidate| candidate.share).sum();
        prop_assert_eq!(shared, free.min(all));
        let most = given.values().max().copied().unwrap_or(0);
        for (lane, wishes) in (0_i64..).zip(&lanes) {
            let lane = Lane::Adhoc(Some(OwnerId::of_test(lane)), Reputation::Proven);
            let got = given.get(&lane).copied().unwrap_or(0);
            prop_assert!(got + 1 >= most || got == takable(wishes), "no lane is passed over");
        }
        prop_assert_eq!(candidates.len(), lanes.iter().map(Vec::len).sum::<usize>());
        for candidate in candidates {
            let limit = limit(candidate.target.id.number());
            prop_assert!(candidate.share <= candidate.ready.min(limit));
        }
    }
}

#[test]
fn an_api_key_with_many_origins_gets_no_more_than_one_with_a_single_origin() {
    let (shares, _) = share_out(10, &[vec![(9, 9); 1000], vec![(9, 9)]]);
    let given: Vec<usize> = by_lane(&shares.into_shares().candidates)
        .into_values()
        .collect();
    assert_eq!(given, [5, 5]);
}
