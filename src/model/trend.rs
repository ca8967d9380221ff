//! Forecasts by the trend of samples.

use std::time::Duration;

/// The shortest time that is taken for a trend.
const SHORTEST: Duration = Duration::from_secs(30 * 60);
/// A forecast that is further off doesn't matter: a century.
const FURTHEST: f64 = 3.2e9;

/// The time in which a number grows by `room`, if it goes on as in these samples: seconds since the
/// first one, and numbers. None if it doesn't grow, or is known for less than half an hour. The
/// trend is the line of least squares.
pub(crate) fn time_to_grow(
    room: f64,
    samples: impl Iterator<Item = (f64, f64)> + Clone,
) -> Option<Duration> {
    let (known_for, _) = samples.clone().last()?;
    if known_for < SHORTEST.as_secs_f64() {
        return None;
    }
    let slope = slope(samples).filter(|slope| *slope > 0.0)?;
    Some(Duration::from_secs_f64((room / slope).min(FURTHEST)))
}

/// The slope of the line of least squares. None if it has none: too few points, or all at one
/// place.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let mut count = 0.0;
    let (mut xs, mut ys) = (0.0, 0.0);
    for (x, y) in points.clone() {
        count += 1.0;
        xs += x;
        ys += y;
    }
    let (mean_x, mean_y) = (xs / count, ys / count);
    let (over, under) = points.fold((0.0, 0.0), |(over, under), (x, y)| {
        let dx = x - mean_x;
        (over + dx * (y - mean_y), under + dx * dx)
    });
    let slope: f64 = over / under;
    slope.is_finite().then_some(slope)
}
