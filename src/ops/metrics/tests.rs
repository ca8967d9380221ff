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
