//! Numbers with their uncertainty.

/// A mean with the standard error of it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Measurement {
    /// The value.
    pub value: f64,
    /// Its standard error; 0 where there is one sample.
    pub stderr: f64,
    /// Samples.
    pub count: u64,
}

/// Sums from which means and their errors follow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Sums {
    /// Welford's update: no large sums cancel.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    /// The mean.
    pub(crate) fn mean(&self) -> Measurement {
        let n = self.count as f64;
        let stderr = if self.count > 1 { (self.squares / (n - 1.0) / n).max(0.0).sqrt() } else { 0.0 };
        Measurement { value: self.mean, stderr, count: self.count }
    }

    /// The exponential of the mean, its error to first order.
    pub(crate) fn exponential(&self) -> Measurement {
        let log = self.mean();
        let value = log.value.exp();
        Measurement { value, stderr: value * log.stderr, count: log.count }
    }
}

/// How samples are distributed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// 95 of 100 are below.
    pub p95: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// Standard error of the mean.
    pub stderr: f64,
    /// Samples.
    pub count: u64,
}

impl Spread {
    /// Of these samples, in any order; all zeros where there are none.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut sums = Sums::default();
        sorted.iter().for_each(|s| sums.add(*s));
        let at = |share| quantile(&sorted, share);
        let mean = sums.mean();
        Self { median: at(0.5), min: at(0.0), max: at(1.0), p95: at(0.95), p99: at(0.99), stderr: mean.stderr, count: mean.count }
    }
}

/// The value below which `share` of the ascending `sorted` lie, interpolated between neighbours.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (a, b) = (sorted[below.min(last)], sorted[above.min(last)]);
    a + (b - a) * (place - place.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_error_of_known_samples() {
        let mut sums = Sums::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|v| sums.add(v));
        let mean = sums.mean();
        assert_eq!((mean.value, mean.count), (5.0, 8));
        assert!((mean.stderr - (32.0_f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn quantiles_interpolate() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of(&[]).count, 0);
    }
}
