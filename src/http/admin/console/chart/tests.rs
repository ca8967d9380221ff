use super::*;

/// An hour that ends at 01:59:30, with two minutes in it.
fn series() -> Series {
    let at = |minutes: u64| Timestamp::from_millis(0).plus(Duration::from_secs(minutes * 60));
    let now = at(119).plus(Duration::from_secs(30));
    let minute = Duration::from_secs(60);
    let query = RollupQuery::new(at(60), now, minute, now).expect("a query");
    let mut latency = LatencyHistogram::default();
    latency.record(Duration::from_millis(40));
    let mut series = Series::new(&query, 60);
    for (minutes, accepted) in [(60, 1000), (119, 1)] {
        let counts = SourceCounts {
            accepted,
            ..SourceCounts::default()
        };
        assert!(series.source(at(minutes), "github", &counts));
    }
    let counts = DestinationCounts {
        delivered: 3,
        failed: 1,
        dead: 0,
        latency,
    };
    for name in ["a", "b"] {
        assert!(series.destination(at(119), name, &counts));
    }
    series
}

#[test]
fn a_series_adds_all_names_up_by_their_step() {
    let series = series();
    assert_eq!(series.points[0].accepted, 1000);
    assert_eq!(series.points[59].delivered, 6);
    let total = series.total();
    assert_eq!((total.accepted, total.failed), (1001, 2));
    let rows = series.rows();
    assert_eq!(rows.len(), 60);
    assert_eq!(
        (rows[0].at.as_str(), rows[0].delivered.as_str()),
        ("01:59", "6")
    );
    assert_eq!(
        (rows[59].at.as_str(), rows[59].p50.as_str()),
        ("01:00", "–")
    );
}

#[test]
fn the_highest_bar_fills_the_chart_and_the_smallest_is_visible() {
    let chart = series().counts("Accepted", "accepted", "a minute", |point| point.accepted);
    let heights: Vec<_> = chart.bars.iter().map(|bar| (bar.x, bar.height)).collect();
    assert_eq!(heights, [(0, HEIGHT), (59 * STEP, 2)]);
    assert!(chart.bars.iter().all(|bar| bar.y + bar.height == HEIGHT));
    assert_eq!(chart.figure, "1\u{202f}001");
    assert_eq!(chart.bars[1].title, "01:59 – 1");
    assert_eq!(chart.width, 60 * STEP);
}

#[test]
fn a_series_without_counts_has_no_bar() {
    let mut series = series();
    series.points = vec![Point::default(); 60];
    assert!(series.latencies().bars.is_empty());
    let latencies = series.latencies();
    assert_eq!(latencies.figure, "–");
    assert!(!latencies.has_key, "there is no colour to explain");
}

#[test]
fn a_series_that_takes_no_more_rows_says_so() {
    let mut series = series();
    let (at, counts) = (series.from, DestinationCounts::default());
    let taken = (0..=MAX_ROWS).filter(|_| series.destination(at, "a", &counts));
    assert_eq!(taken.count(), MAX_ROWS - 2);
    assert!(series.is_cut_short);
}
