use super::*;

#[test]
fn connections_leave_room_for_the_other_parts() {
    let demand = Demand {
        event_loops: 3,
        readers: 4 + 3,
        admin_connections: 16,
        workers: 64,
        destinations: 0,
        own_pools: 0,
    };
    let rest = 1024 - 50 - 3 * 4 - (4 + 3) * 3 - 16;
    // 64 workers, 128 idle connections to ad hoc URLs, and 32 look-ups of a socket and a file each.
    let deliveries = 64 + 128 + 32 * 2;
    assert_eq!(fitting(1024, &demand), rest - deliveries);
    let more = Demand {
        destinations: 20,
        own_pools: 3,
        ..demand
    };
    let deliveries = 64 + (128 + 128 + 3 * 8) + 32 * 2;
    assert_eq!(fitting(1024, &more), rest - deliveries);
    assert_eq!(fitting(10, &demand), MIN_CONNECTIONS);
    assert_eq!(fitting(u64::MAX, &demand), u32::MAX);
}

#[test]
fn idle_connections_and_look_ups_follow_the_limit_within_their_bounds() {
    let limits = [1024, 10, u64::MAX];
    assert_eq!(limits.map(look_ups), [32, 8, 128]);
    let limits = [10, 1024, 20_000, 65_536, u64::MAX];
    assert_eq!(limits.map(idle), [16, 128, 2500, 8192, 8192]);
    let own = limits.map(|limit| idle_of_own_pool(limit, 64));
    assert_eq!(own, [1, 8, 64, 64, 64]);
    assert_eq!(idle_of_own_pool(20_000, 1000), 156);
}
