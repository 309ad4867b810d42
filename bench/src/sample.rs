//! What one cell gave in one round, and what its rounds come to.

use std::time::Duration;

/// CPU time spent in a window.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuTime {
    /// By the server process.
    pub(crate) server: Duration,
    /// By all processes of PostgreSQL.
    pub(crate) postgres: Duration,
}

/// The numbers of one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Requests or transactions per second.
    pub(crate) rate: f64,
    /// Milliseconds that half of the requests stayed below.
    pub(crate) p50_ms: f64,
    /// Milliseconds that 99 of 100 requests stayed below.
    pub(crate) p99_ms: f64,
    /// CPU milliseconds of the server per request.
    pub(crate) server_ms: f64,
    /// CPU milliseconds of PostgreSQL per request.
    pub(crate) postgres_ms: f64,
    /// Requests that failed, those outside the window included.
    pub(crate) errors: u64,
}

impl Sample {
    /// From the latencies in microseconds of all requests within `window`.
    pub(crate) fn of(mut latencies_us: Vec<u32>, errors: u64, window: Duration, cpu: CpuTime) -> Self {
        latencies_us.sort_unstable();
        let count = f64::from(u32::try_from(latencies_us.len()).unwrap_or(u32::MAX));
        let per_request = |time: Duration| time.as_secs_f64() * 1000.0 / count.max(1.0);
        Self {
            rate: count / window.as_secs_f64(),
            p50_ms: percentile_ms(&latencies_us, 50),
            p99_ms: percentile_ms(&latencies_us, 99),
            server_ms: per_request(cpu.server),
            postgres_ms: per_request(cpu.postgres),
            errors,
        }
    }
}

/// The nearest-rank percentile of sorted microseconds, in milliseconds.
pub(crate) fn percentile_ms(sorted_us: &[u32], percent: usize) -> f64 {
    let rank = (sorted_us.len() * percent).div_ceil(100).max(1) - 1;
    sorted_us.get(rank).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
}

/// The median, least and greatest of one number over the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Over what `number` picks from each sample.
    pub(crate) fn of(samples: &[Sample], number: impl Fn(&Sample) -> f64) -> Self {
        let mut values: Vec<f64> = samples.iter().map(number).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Self {
            median,
            min: values.first().copied().unwrap_or(f64::NAN),
            max: values.last().copied().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let us: Vec<u32> = (1..=200).map(|n| n * 1000).collect();
        assert!((percentile_ms(&us, 50) - 100.0).abs() < f64::EPSILON);
        assert!((percentile_ms(&us, 99) - 198.0).abs() < f64::EPSILON);
        assert!((percentile_ms(&us[..1], 99) - 1.0).abs() < f64::EPSILON);
        assert!(percentile_ms(&[], 50).is_nan());
    }

    #[test]
    fn a_sample_counts_only_its_window() {
        let cpu = CpuTime {
            server: Duration::from_millis(40),
            postgres: Duration::from_millis(80),
        };
        let sample = Sample::of(vec![1000; 400], 0, Duration::from_secs(2), cpu);
        assert!((sample.rate - 200.0).abs() < 1e-9);
        assert!((sample.server_ms - 0.1).abs() < 1e-9 && (sample.postgres_ms - 0.2).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let sample = |rate| Sample {
            rate,
            p50_ms: 0.0,
            p99_ms: 0.0,
            server_ms: 0.0,
            postgres_ms: 0.0,
            errors: 0,
        };
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0].map(sample), |sample| sample.rate);
        assert!(
            (spread.median - 2.5).abs() < 1e-9 && (spread.min - 1.0).abs() < 1e-9 && (spread.max - 4.0).abs() < 1e-9
        );
    }
}
