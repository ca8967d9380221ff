//! The counts of a period: of a source, and of a destination with its latencies. Pure.

use std::time::Duration;

/// The counts of a source, or of the relay API, in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Events recorded.
    pub accepted: u64,
    /// Requests whose key named an earlier event.
    pub duplicates: u64,
    /// Requests refused: not verified, not allowed, or over the rate limit.
    pub refused: u64,
}

impl SourceCounts {
    /// Adds the counts of another period.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
    }
}

/// The counts of a destination in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationCounts {
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// The times from acceptance to delivery.
    pub latency: LatencyHistogram,
}

impl DestinationCounts {
    /// Adds the counts of another period.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.dead += other.dead;
        self.latency.add(&other.latency);
    }
}

/// Buckets of a [`LatencyHistogram`].
pub const LATENCY_BUCKETS: usize = 24;

/// Latencies in buckets whose bounds double: up to 1 ms, 2 ms, 4 ms, … 70 minutes, and longer.
///
/// Quantiles of two periods can't be merged, and the buckets of a histogram can: by adding. With
/// fixed bounds any two histograms fit. A quantile is interpolated within its bucket, so that it is
/// off by less than a factor of two, which is enough to see that a destination has become slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram([u64; LATENCY_BUCKETS]);

impl LatencyHistogram {
    /// Counts a latency.
    pub fn record(&mut self, latency: Duration) {
        self.0[bucket(latency)] += 1;
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Latencies counted.
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The latency that a share of all latencies, in 0..=1, doesn't exceed; none if nothing was
    /// counted. In the last bucket it is that bucket's lower bound.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^53, and a rank is between 1 and the count"
    )]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // Rounding may have pushed a whole rank above itself: 0.28 × 25 is 7.000000000000001.
        let rank = share.clamp(0.0, 1.0) * count as f64 * (1.0 - f64::EPSILON);
        let rank = (rank.ceil() as u64).clamp(1, count);
        let mut before = 0;
        for (at, &counted) in self.0.iter().enumerate() {
            if rank <= before + counted {
                let (low, high) = bounds(at);
                let within = (rank - before) as f64 / counted as f64;
                return Some(low + high.saturating_sub(low).mul_f64(within));
            }
            before += counted;
        }
        None
    }

    /// The counts of all buckets.
    #[allow(dead_code, reason = "only PostgreSQL adds them up by itself")]
    pub fn buckets(&self) -> [u64; LATENCY_BUCKETS] {
        self.0
    }

    /// The histogram of these buckets, of which the last ones may be missing; none if there are too
    /// many.
    #[allow(dead_code, reason = "only PostgreSQL stores them apart")]
    pub fn from_buckets(buckets: &[u64]) -> Option<Self> {
        let mut histogram = Self::default();
        histogram
            .0
            .get_mut(..buckets.len())?
            .copy_from_slice(buckets);
        Some(histogram)
    }

    /// The histogram in bytes: LEB128 numbers, without the empty buckets at the end. Most minutes
    /// take a dozen bytes of the 192 that the counts would.
    pub fn to_bytes(&self) -> Vec<u8> {
        let used = self.0.iter().rposition(|&count| count > 0);
        let mut bytes = Vec::new();
        for &count in &self.0[..used.map_or(0, |last| last + 1)] {
            let mut rest = count;
            while rest >= 0x80 {
                bytes.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
                rest >>= 7;
            }
            bytes.push(u8::try_from(rest).expect("seven bits"));
        }
        bytes
    }

    /// The histogram of [`Self::to_bytes`]; none if the bytes are no such histogram.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut histogram = Self::default();
        let mut rest = bytes;
        for count in &mut histogram.0 {
            if rest.is_empty() {
                break;
            }
            (*count, rest) = number(rest)?;
        }
        rest.is_empty().then_some(histogram)
    }
}

/// A LEB128 number at the beginning of some bytes, and the bytes after it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (at, &byte) in bytes.iter().enumerate() {
        let shift = u32::try_from(at * 7).ok()?;
        let part = u64::from(byte & 0x7f);
        let shifted = part.checked_shl(shift)?;
        if shifted >> shift != part {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// The bucket of a latency: the first whose upper bound it doesn't exceed.
fn bucket(latency: Duration) -> usize {
    let micros = latency.as_micros();
    let millis = micros.div_ceil(1000);
    let bits = 128 - millis.saturating_sub(1).leading_zeros();
    usize::try_from(bits).map_or(LATENCY_BUCKETS - 1, |at| at.min(LATENCY_BUCKETS - 1))
}

/// The bounds of a bucket. The last one has none above: both are its lower bound.
fn bounds(bucket: usize) -> (Duration, Duration) {
    let upper = |at: usize| Duration::from_millis(1 << at);
    match bucket {
        0 => (Duration::ZERO, upper(0)),
        last if last == LATENCY_BUCKETS - 1 => (upper(last - 1), upper(last - 1)),
        at => (upper(at - 1), upper(at)),
    }
}

#[cfg(test)]
mod tests;
