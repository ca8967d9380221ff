use super::*;

const LOCKS: &str = "\
1: POSIX  ADVISORY  READ 41 08:01:77 124 124
2: POSIX  ADVISORY  READ 42 08:01:77 128 128
3: POSIX  ADVISORY  WRITE 43 08:01:77 120 120
4: POSIX  ADVISORY  READ 44 08:01:78 124 124
5: FLOCK  ADVISORY  READ 45 08:01:77 0 EOF
6: POSIX  ADVISORY  READ 41 08:01:77 125 125
7: -> POSIX  ADVISORY  READ 47 08:01:77 124 124
8: POSIX  ADVISORY  READ 48 00:2e:77 123 127
";

#[test]
fn only_processes_with_a_snapshot_of_this_database_are_named() {
    assert_eq!(readers_in(LOCKS, 77), [41, 48]);
    assert_eq!(readers_in(LOCKS, 79), Vec::<u32>::new());
}
