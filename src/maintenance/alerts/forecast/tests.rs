use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Samples a minute of a disk with this much free space.
fn sampled(minutes: u32, free: impl Fn(u32) -> u64) -> Forecast {
    let mut forecast = Forecast::default();
    for minute in 0..minutes {
        forecast.sample(MINUTE * minute, free(minute));
    }
    forecast
}

#[test]
fn a_disk_that_fills_steadily_is_full_when_the_trend_says_so() {
    // A million bytes a minute, and 100 million left beyond the reserve.
    let forecast = sampled(120, |minute| 1_000_000_000 - u64::from(minute) * 1_000_000);
    let reserve = 1_000_000_000 - 119_000_000 - 100_000_000;
    let left = forecast.time_left(reserve).expect("a trend");
    assert!(
        (99.0..101.0).contains(&(left.as_secs_f64() / 60.0)),
        "{left:?}"
    );
    assert_eq!(forecast.time_left(u64::MAX), Some(Duration::ZERO));
}

#[test]
fn a_short_time_a_steady_disk_and_one_that_gets_room_have_no_forecast() {
    let short = sampled(29, |minute| 1_000_000 - u64::from(minute));
    assert_eq!(short.time_left(0), None);
    assert_eq!(sampled(120, |_| 7).time_left(0), None);
    assert_eq!(sampled(120, u64::from).time_left(0), None);
    assert_eq!(Forecast::default().time_left(0), None);
}

#[test]
fn a_burst_is_forgotten_after_six_hours_and_samples_are_bounded() {
    let forecast = sampled(
        10_000,
        |minute| if minute < 9_000 { 1 << 40 } else { 1 << 30 },
    );
    assert_eq!(forecast.samples.len(), MAX_SAMPLES);
    assert_eq!(forecast.time_left(0), None);
    let mut often = Forecast::default();
    for second in 0..3600 {
        often.sample(Duration::from_secs(second), 1);
    }
    assert_eq!(often.samples.len() as u64, HOUR.as_secs() / 60);
}
