//! The slope of a line through points: for forecasts.

/// The slope of the line of least squares. None if it has none: too few points, or all at one
/// place.
pub(crate) fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
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
