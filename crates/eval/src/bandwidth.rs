//! How fast this machine reads memory: what decoding is held against.

use std::time::Instant;

use gravure_base::Pages;

/// Bytes that are read: more than any cache holds.
const BYTES: usize = 512 << 20;
/// Times that they are read; the fastest counts.
const ROUNDS: usize = 5;

/// Bytes in a second that `threads` threads read together, the best of five rounds over 512 MiB in large
/// pages, as weights lie; zero where there is no such memory.
pub fn read_bandwidth(threads: usize) -> f64 {
    let Some(probe) = Probe::new(BYTES, threads) else { return 0.0 };
    (0..ROUNDS).map(|_| probe.round()).fold(0.0, f64::max)
}

/// Memory that is read again and again.
#[derive(Debug)]
pub struct Probe {
    data: Pages,
    threads: usize,
}

impl Probe {
    /// So many bytes in large pages, for so many threads; `None` where there is no such memory.
    pub fn new(bytes: usize, threads: usize) -> Option<Self> {
        let mut data = Pages::zeroed(bytes).ok()?;
        data.fill(1);
        Some(Self { data, threads: threads.max(1) })
    }

    /// Bytes in a second of one reading of all of it.
    pub fn round(&self) -> f64 {
        let share = self.data.len().div_ceil(self.threads);
        let start = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let workers: Vec<_> = self.data.chunks(share).map(|part| scope.spawn(move || sum(part))).collect();
            workers.into_iter().map(|w| w.join().unwrap_or_default()).fold(0, u64::wrapping_add)
        });
        std::hint::black_box(sum);
        self.data.len() as f64 / start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Two streams, whose lines a processor fetches side by side, and several sums of each, so that additions do not wait for each other.
fn sum(part: &[u8]) -> u64 {
    let (lower, upper) = part.split_at(part.len() / 2);
    let mut sums = [[0_u64; 8]; 2];
    let lines = |part| <[u8]>::as_chunks::<8>(part).0.chunks_exact(8);
    for (lower, upper) in lines(lower).zip(lines(upper)) {
        for (sums, line) in sums.iter_mut().zip([lower, upper]) {
            for (sum, value) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*value));
            }
        }
    }
    sums.iter().flatten().fold(0, |a, b| a.wrapping_add(*b))
}
