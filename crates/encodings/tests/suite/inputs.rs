//! Deterministic inputs, the same as those of `scripts/golden_encodings.py`: operations that are
//! exact in `f32` or rounded once.

/// Weights in a row.
pub(crate) const COLUMNS: usize = 512;
/// Kinds of rows.
pub(crate) const KINDS: u32 = 16;
/// Kinds with weights that no model has: subnormal, beyond the range of a half, squares overflow.
pub(crate) const EXTREME: u32 = 1 << 9 | 1 << 10 | 1 << 11;

const SEED: u64 = 0x6772_6176_7572_6500;

/// splitmix64.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// [0, 1), 24 bits.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * 2f32.powi(-24)
    }

    /// Near normal, standard deviation 0.58: the sum of four 16-bit numbers.
    pub(crate) fn bell(&mut self) -> f32 {
        let z = self.bits();
        let total = (z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48);
        (total as i32 - 131_070) as f32 * 2f32.powi(-16)
    }
}

fn weight(kind: u32, random: &mut Random, column: usize) -> f32 {
    match kind {
        // As in a model.
        0 => random.bell() * 0.0271,
        // Heavy tails.
        1 => {
            let value = random.bell() * 0.0113;
            let draw = random.bits() % 64;
            if draw >= 32 { value * 2f32.powi((draw / 8) as i32) } else { value }
        }
        // Even, positive, negative, constant.
        2 => random.uniform() * 2.0 - 1.0,
        3 => random.uniform() * 0.31 + 0.07,
        4 => random.uniform() * -0.23 - 0.11,
        5 => 0.37,
        // Zeros of both signs.
        6 => {
            if column.is_multiple_of(3) {
                -0.0
            } else {
                0.0
            }
        }
        // Small integers: ties of magnitude.
        7 => (random.bits() % 17) as f32 - 8.0,
        // Sixteenths: ties of rounding.
        8 => ((random.bits() % 257) as f32 - 128.0) * 0.0625,
        // Subnormal; too large for a half-precision scale; squares overflow; tiny.
        9 => random.bell() * 1e-38,
        10 => random.bell() * 1e7,
        11 => random.bell() * 1e25,
        12 => random.bell() * 1e-9,
        // One outlier in a group of small ones.
        13 => {
            let value = random.bell() * 0.002;
            if column % 61 == 17 { value + 3.0 } else { value }
        }
        // Mostly zero.
        14 => {
            let value = random.bell() * 0.05;
            if random.bits().is_multiple_of(8) { value } else { 0.0 }
        }
        // Ternary.
        _ => ((random.bits() % 3) as f32 - 1.0) * 0.043,
    }
}

/// One row of a kind.
pub(crate) fn row(kind: u32) -> Vec<f32> {
    let mut random = Random::new(SEED + u64::from(kind));
    (0..COLUMNS).map(|column| weight(kind, &mut random, column)).collect()
}

/// The rows of the kinds in the mask.
pub(crate) fn rows(kinds: u32) -> Vec<f32> {
    (0..KINDS).filter(|kind| kinds >> kind & 1 == 1).flat_map(row).collect()
}

/// Mean squares of activations: spread over orders of magnitude, some zero.
pub(crate) fn importance() -> Vec<f32> {
    let mut random = Random::new(SEED + 1000);
    let mut value = || {
        let value = random.uniform();
        let draw = random.bits() % 16;
        if draw == 0 { 0.0 } else { value * value * 2f32.powi((draw / 2) as i32) }
    };
    (0..COLUMNS).map(|_| value()).collect()
}
