use super::named;

fn names(given: Option<&str>, count: usize) -> Result<String, String> {
    named(given, count).map(|names| names.join(","))
}

#[test]
fn sockets_are_told_apart_by_their_names() {
    let fine = |text: &str| Ok(text.to_owned());
    assert_eq!(names(None, 0), fine(""));
    assert_eq!(names(Some("server"), 1), fine("server"));
    assert_eq!(names(Some("admin"), 1), fine("admin"));
    assert_eq!(names(Some("server:admin"), 2), fine("server,admin"));
    assert_eq!(names(Some("admin:server"), 2), fine("admin,server"));
    // Of the names that systemd gives by itself a single one is enough.
    assert_eq!(names(None, 1), fine("server"));
    assert_eq!(names(Some("relay.socket"), 1), fine("server"));
}

#[test]
fn a_socket_whose_place_is_unknown_stops_the_start() {
    for (given, count, says) in [
        (
            Some("server"),
            2,
            "expected a name for each of the 2 sockets",
        ),
        (Some("server:server"), 2, "\"server\" comes twice"),
        (
            Some("server:metrics"),
            2,
            "\"metrics\": expected \"server\" or \"admin\"",
        ),
        (Some("metrics"), 1, "\"metrics\": expected"),
        (None, 2, "\"unknown\": expected"),
    ] {
        let problem = names(given, count).expect_err("an unknown place");
        assert!(
            problem.contains(says) && problem.starts_with("LISTEN_FDNAMES: "),
            "{problem}"
        );
    }
}
