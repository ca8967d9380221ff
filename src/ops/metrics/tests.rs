use super::*;

#[test]
fn recorded_values_are_rendered() {
    let metrics = Metrics::new(Level::Off);
    metrics.request("/v1/relays", "POST", 201, Duration::from_millis(3));
    metrics.request("/v1/relays", "POST", 201, Duration::from_millis(3));
    metrics.accepted(Surface::Event);
    metrics.committed(7, Duration::from_micros(900));
    metrics.attempt("orders", "delivered", Duration::from_millis(20));
    metrics.deliveries(DeliveryState::DeadLettered, 4);
    let text = metrics.render();
    for line in [
        r#"relay_http_requests_total{route="/v1/relays",method="POST",status="201"} 2"#,
        r#"relay_accepted_total{surface="webhooks"} 1"#,
        r#"relay_accepted_total{surface="relays"} 0"#,
        r#"relay_commit_batch_size_bucket{le="8"} 1"#,
        r#"relay_attempts_total{destination="orders",outcome="delivered"} 1"#,
        r#"relay_deliveries{state="dead_lettered"} 4"#,
        "# TYPE relay_log_lines_dropped_total counter",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

/// The lines of the rendered metrics that hold all of these.
fn lines(metrics: &Metrics, parts: &[&str]) -> Vec<String> {
    let text = metrics.render();
    let lines = text.lines();
    let found = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
    found.map(str::to_owned).collect()
}

#[test]
fn the_series_of_removed_names_are_left_out_until_they_come_back() {
    let metrics = Metrics::new(Level::Off);
    let declare = |sources: &[&str], destinations: &[&str]| {
        let (sources, destinations) = (sources.iter().copied(), destinations.iter().copied());
        metrics.declare(sources, destinations);
    };
    let old = r#"destination="old""#;
    declare(&["github", "old"], &["orders", "old"]);
    for name in ["orders", "old"] {
        metrics.attempt(name, "delivered", Duration::from_millis(20));
        metrics.destination_state(name, "active", true);
    }
    for name in ["github", "old"] {
        metrics.verification_counters(name);
        metrics.unrouted(name, 1);
    }
    assert!(!lines(&metrics, &[old]).is_empty());

    declare(&["github"], &["orders"]);
    metrics.destination_state("old", "active", false);
    // An attempt that was under way.
    metrics.attempt("old", "delivered", Duration::from_millis(20));
    assert_eq!(lines(&metrics, &["\"old\""]), [""; 0]);
    for kept in [r#"{destination="orders""#, r#"{source="github""#] {
        assert!(!lines(&metrics, &[kept]).is_empty(), "{kept}");
    }

    // Deliveries wait for it.
    metrics.destination_state("old", "unknown", true);
    let waits = r#"relay_destination_state{destination="old",state="unknown"} 1"#;
    assert_eq!(lines(&metrics, &["\"old\""]), [waits]);

    declare(&["github"], &["orders", "old"]);
    let delivered = r#"relay_attempts_total{destination="old",outcome="delivered"} 2"#;
    assert_eq!(lines(&metrics, &[delivered]), [delivered]);
    assert_eq!(lines(&metrics, &[r#"source="old""#]), [""; 0]);
}

#[test]
fn a_destination_that_blocks_no_more_is_zero() {
    let metrics = Metrics::new(Level::Off);
    let blocked = |counts: &[(&str, i64)]| {
        metrics.ordering_blocked(counts.iter().copied());
        lines(&metrics, &["relay_ordering_blocked{"])
    };
    let of = |count| format!(r#"relay_ordering_blocked{{destination="orders"}} {count}"#);
    assert_eq!(blocked(&[("orders", 3)]), [of(3)]);
    assert_eq!(blocked(&[]), [of(0)]);
}
