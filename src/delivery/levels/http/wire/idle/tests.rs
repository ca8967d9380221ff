use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use proptest::prelude::*;

use super::*;
use crate::delivery::levels::http::wire::scene::{Scene, host, peer};

/// Whether relay has closed the connection.
fn is_closed(mut other: &TcpStream) -> bool {
    other.set_nonblocking(true).expect("a socket");
    matches!(other.read(&mut [0]), Ok(0))
}

#[test]
fn a_request_gets_the_connection_of_its_host_that_came_last() {
    let scene = Scene::new(10);
    let (first, second) = (scene.keep("a"), scene.keep("a"));
    let other = scene.keep("b");
    assert_eq!(scene.take("a"), peer(&second));
    assert_eq!(scene.take("a"), peer(&first));
    assert_eq!(scene.take("a"), None);
    assert_eq!(scene.take("b"), peer(&other));
    let secure = Host(Scheme::HTTPS, Authority::from_static("c"));
    let _open = scene.keep("c");
    assert!(matches!(scene.idle.take(Some(&secure)), Ok(None)));
}

#[test]
fn the_connection_that_has_idled_longest_makes_room() {
    let scene = Scene::new(2);
    let first = scene.keep("a");
    let second = scene.keep("b");
    let third = scene.keep("a");
    assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&third));
    assert_eq!(scene.take("a"), peer(&third));
    assert_eq!(scene.take("a"), None);
}

#[test]
fn a_connection_that_has_idled_for_too_long_is_closed() {
    let scene = Scene::new(10);
    let (first, second) = (scene.keep("a"), scene.keep("b"));
    scene.clock.advance(MAX_IDLE);
    let third = scene.keep("c");
    assert!(is_closed(&first) && is_closed(&second));
    // A host whose connections never stay finds those of others.
    scene.clock.advance(MAX_IDLE);
    assert_eq!(scene.take("d"), None);
    assert!(is_closed(&third));
}

#[test]
fn a_connection_that_the_other_side_has_ended_or_written_to_is_not_used() {
    let scene = Scene::new(10);
    let good = scene.keep("a");
    drop(scene.keep("a"));
    let mut chatty = scene.keep("a");
    chatty.write_all(b"HTTP/1.1 408").expect("it is open");
    assert_eq!(scene.take("a"), peer(&good));
}

#[test]
fn a_closed_pool_cuts_what_is_in_use_and_keeps_nothing() {
    let scene = Scene::new(10);
    let waiting = scene.keep("a");
    let (used, other) = scene.connect();
    let handle = Arc::downgrade(used.socket().stream());
    scene.idle.register(handle).expect("it is open");
    scene.idle.close();
    assert!(is_closed(&waiting) && is_closed(&other));
    scene.idle.keep(host("a"), used);
    assert_eq!(scene.idle.counts(), (0, 0));
    assert!(scene.idle.take(None).is_err(), "nothing is dialled");
    let (late, _other) = scene.connect();
    let handle = Arc::downgrade(late.socket().stream());
    assert!(scene.idle.register(handle).is_err());
}

#[test]
fn handles_of_closed_connections_are_forgotten() {
    let scene = Scene::new(10);
    for _ in 0..10 * FIRST_LOOK {
        let (wire, _other) = scene.connect();
        let handle = Arc::downgrade(wire.socket().stream());
        scene.idle.register(handle).expect("it is open");
    }
    assert!(scene.idle.lock().handles.len() <= FIRST_LOOK);
}

/// One step of the pool's life.
#[derive(Clone, Debug)]
enum Step {
    Keep(u8),
    Take(u8),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8).prop_map(Step::Keep),
        (0..4u8).prop_map(Step::Take),
        (0..8u8).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A list by host stands for the pool.
    #[test]
    fn the_pool_keeps_the_youngest_connections_that_a_list_keeps(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let scene = Scene::new(3);
        let mut others = Vec::new();
        let mut kept: Vec<(u8, Duration, Option<SocketAddr>)> = Vec::new();
        for step in steps {
            let now = scene.clock.monotonic();
            if !matches!(step, Step::Wait(_)) {
                kept.retain(|(_, since, _)| !is_overdue(*since, now));
            }
            match step {
                Step::Keep(to) => {
                    let other = scene.keep(&to.to_string());
                    kept.push((to, now, peer(&other)));
                    if kept.len() > 3 {
                        kept.remove(0);
                    }
                    others.push(other);
                }
                Step::Take(to) => {
                    let last = kept.iter().rposition(|(host, ..)| *host == to);
                    let expected = last.and_then(|at| kept.remove(at).2);
                    prop_assert_eq!(scene.take(&to.to_string()), expected);
                }
                Step::Wait(seconds) => scene.clock.advance(Duration::from_secs(seconds.into())),
            }
            let state = scene.idle.lock();
            let waiting: usize = state.hosts.values().map(VecDeque::len).sum();
            prop_assert_eq!((waiting, state.order.len()), (kept.len(), kept.len()));
            prop_assert!(state.hosts.values().all(|waiting| !waiting.is_empty()));
        }
    }
}
