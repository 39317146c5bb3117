//! Exponential and logarithm out of additions and multiplications alone, so that a seed gives the same
//! tokens on every platform: those of the systems' mathematical libraries differ in their last bits.

const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `e^x` within two units in the last place; 0 below the smallest normal number.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    if x < -708.0 {
        return 0.0;
    }
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    // Taylor's series: the rest is at most ln 2 / 2, its 14th power over 14! is 4e-18.
    let series = (1..=13).rev().fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    series * f64::from_bits(((1023 + power as i64) as u64) << 52)
}

/// The natural logarithm of a normal number above 0, within 4 units in the last place.
pub(crate) fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if !(x >= f64::MIN_POSITIVE && x.is_finite()) {
        return if x == f64::INFINITY { x } else { f64::NAN };
    }
    let bits = x.to_bits();
    let mut power = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        power += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)); the argument is at most 0.172.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..12).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    power as f64 * LN_2_HIGH + (2.0 * ratio * series + power as f64 * LN_2_LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_system_to_the_last_digits() {
        for i in -70_000..70_000 {
            let x = f64::from(i) * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 5e-16 || x.exp() < 1e-307, "exp {x}");
        }
        for i in 1..100_000 {
            for x in [f64::from(i) * 1e-4, f64::from(i).powi(9), f64::from(i).powi(-7)] {
                let expected = x.ln();
                assert!((ln(x) - expected).abs() <= 1e-15 * expected.abs() + 1e-17, "ln {x}: {} {expected}", ln(x));
            }
        }
        assert_eq!((exp(f64::NEG_INFINITY), exp(0.0), ln(1.0), ln(0.0)), (0.0, 1.0, 0.0, f64::NEG_INFINITY));
        assert!(exp(f64::NAN).is_nan() && ln(-1.0).is_nan());
    }
}
