//! Rotary position embedding (Su et al. 2021) on halves of heads: element `i` and element
//! `i + dimensions / 2` of a head are turned together by `position * frequency(i)`.
//!
//! ```text
//! frequency(i) = base ^ (-2 i / dimensions) / divisor(i)
//! head: | 0 .. d/2-1 | d/2 .. d-1 | not rotated |
//! ```
//! The divisors stretch the frequencies for contexts longer than the trained one: one number for
//! all (linear), a vector that the model brings (Llama 3.1; LongRoPE, Ding et al. 2024, with a
//! second vector for sequences beyond the original context), or YaRN's ramp (Peng et al. 2023).

use gravure_base::{Error, Result};

use crate::attribute::Get;
use crate::op::misfit;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "rope";
/// Attribute: heads in a row.
pub const HEADS: &str = "heads";
/// Attribute: elements of a head that are rotated.
pub const DIMENSIONS: &str = "dimensions";
/// Attribute: base of the frequencies.
pub const BASE: &str = "base";
/// Attribute: divisor of all frequencies.
pub const FACTOR: &str = "factor";
/// Attribute: factor of sines and cosines.
pub const MAGNITUDE: &str = "magnitude";
/// Attribute: context of the training.
pub const ORIGINAL_CONTEXT: &str = "original_context";
/// Attribute: YaRN's factor.
pub const YARN_FACTOR: &str = "yarn_factor";
/// Attribute: YaRN's beta for the fast end.
pub const YARN_BETA_FAST: &str = "yarn_beta_fast";
/// Attribute: YaRN's beta for the slow end.
pub const YARN_BETA_SLOW: &str = "yarn_beta_slow";

/// `x [positions, heads * length]`, `positions [positions]`, `divisors [dimensions / 2]`,
/// `long_divisors [dimensions / 2]` to the shape of `x`.
#[derive(Debug, Clone, Copy)]
pub struct Rope;

const fn rule(name: &'static str, kind: AttributeKind, required: bool, doc: &'static str) -> AttributeRule {
    AttributeRule { name, kind, required, doc }
}

impl Op for Rope {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "rotary position embedding on halves of heads"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const {
            &[
                InputRule::required("x"),
                InputRule::required("positions"),
                InputRule::optional("divisors"),
                InputRule::optional("long_divisors"),
            ]
        }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        const RULES: &[AttributeRule] = &[
            rule(HEADS, AttributeKind::Integer, true, "heads in a row"),
            rule(DIMENSIONS, AttributeKind::Integer, true, "elements of a head that are rotated, even"),
            rule(BASE, AttributeKind::Float, true, "base of the frequencies, positive"),
            rule(FACTOR, AttributeKind::Float, false, "divisor of all frequencies, positive; 1 where absent"),
            rule(MAGNITUDE, AttributeKind::Float, false, "factor of sines and cosines; 1 where absent"),
            rule(
                ORIGINAL_CONTEXT,
                AttributeKind::Integer,
                false,
                "positions of the training; sequences that are longer take the long divisors; needed with these and with YaRN",
            ),
            rule(YARN_FACTOR, AttributeKind::Float, false, "YaRN's stretch, positive; no YaRN where absent"),
            rule(YARN_BETA_FAST, AttributeKind::Float, false, "rotations from which YaRN leaves a frequency; 32 where absent"),
            rule(YARN_BETA_SLOW, AttributeKind::Float, false, "rotations up to which YaRN stretches fully; 1 where absent"),
        ];
        RULES
    }

    fn shape(&self, inputs: &[&[usize]], attributes: &Attributes) -> Result<Vec<usize>> {
        let (heads, dimensions) = (attributes.count(HEADS)?, attributes.count(DIMENSIONS)?);
        let (&[positions, row], &[numbers]) = (inputs[0], inputs[1]) else {
            return Err(misfit("rows and a list of positions are expected", inputs));
        };
        if positions != numbers || row % heads != 0 || row / heads < dimensions || dimensions % 2 != 0 {
            return Err(misfit(&format!("{heads} heads of at least {dimensions} elements are expected, a position for each row"), inputs));
        }
        if inputs[2..].iter().any(|divisors| *divisors != [dimensions / 2]) {
            return Err(misfit("a divisor for each pair is expected", inputs));
        }
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let (x, numbers) = (inputs[0], inputs[1].values());
        let longest = numbers.iter().fold(0.0_f64, |m, &p| m.max(f64::from(p) + 1.0));
        let original = attributes.integer(ORIGINAL_CONTEXT)?;
        let missing = || Error::input(format!("attribute `{ORIGINAL_CONTEXT}` is missing"));
        let divisors = match inputs.get(3) {
            Some(long) if longest > original.ok_or_else(missing)? as f64 => Some(*long),
            _ => inputs.get(2).copied(),
        };
        let frequencies = frequencies(divisors.map(Array::values), attributes)?;
        let magnitude = attributes.float(MAGNITUDE)?.unwrap_or(1.0);
        let (heads, half) = (attributes.count(HEADS)?, attributes.count(DIMENSIONS)? / 2);
        let length = x.row_length() / heads;
        let mut out = x.values().to_vec();
        if length == 0 {
            return Array::new(x.shape(), out);
        }
        for (row, &number) in out.chunks_exact_mut(heads * length).zip(numbers) {
            for head in row.chunks_exact_mut(length) {
                for (i, &frequency) in frequencies.iter().enumerate() {
                    // Positions and frequencies are `f32` in every engine, and so is their product:
                    // at large positions its rounding is part of what a model was trained with.
                    let angle = f64::from(number * frequency as f32);
                    let (sine, cosine) = (angle.sin() * magnitude, angle.cos() * magnitude);
                    let (a, b) = (f64::from(head[i]), f64::from(head[i + half]));
                    head[i] = (a * cosine - b * sine) as f32;
                    head[i + half] = (b * cosine + a * sine) as f32;
                }
            }
        }
        Array::new(x.shape(), out)
    }
}

/// Radians for each position, for each pair, with these divisors.
///
/// # Errors
/// `Input` for attributes that are missing or out of range, or divisors that are not one for each pair.
pub fn frequencies(divisors: Option<&[f32]>, attributes: &Attributes) -> Result<Vec<f64>> {
    let dimensions = attributes.count(DIMENSIONS)?;
    if let Some(divisors) = divisors.filter(|d| d.len() != dimensions / 2) {
        return Err(Error::input(format!("{} divisors of {} pairs", divisors.len(), dimensions / 2)));
    }
    let base = positive(attributes, BASE)?.ok_or_else(|| Error::input("attribute `base` is missing"))?;
    let original = attributes.integer(ORIGINAL_CONTEXT)?;
    let missing = || Error::input(format!("attribute `{ORIGINAL_CONTEXT}` is missing"));
    let factor = positive(attributes, FACTOR)?.unwrap_or(1.0);
    let yarn = match positive(attributes, YARN_FACTOR)? {
        Some(stretch) => Some((stretch, yarn_ends(attributes, dimensions, base, original.ok_or_else(missing)? as f64)?)),
        None => None,
    };
    let frequency = |i: usize| {
        let divisor = divisors.map_or(1.0, |d| f64::from(d[i]));
        let plain = base.powf(-2.0 * i as f64 / dimensions as f64) / divisor / factor;
        match yarn {
            Some((stretch, (low, high))) => {
                let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                plain * (1.0 - ramp) + plain / stretch * ramp
            }
            None => plain,
        }
    };
    Ok((0..dimensions / 2).map(frequency).collect())
}

/// Pairs between which YaRN's ramp rises from keeping to stretching.
fn yarn_ends(attributes: &Attributes, dimensions: usize, base: f64, original: f64) -> Result<(f64, f64)> {
    if original < 1.0 {
        return Err(Error::input(format!("attribute `{ORIGINAL_CONTEXT}` is {original} and should be positive")));
    }
    let fast = positive(attributes, YARN_BETA_FAST)?.unwrap_or(32.0);
    let slow = positive(attributes, YARN_BETA_SLOW)?.unwrap_or(1.0);
    // The pair that makes so many rotations within the original context.
    let pair = |rotations: f64| dimensions as f64 * (original / (rotations * 2.0 * std::f64::consts::PI)).ln() / (2.0 * base.ln());
    let low = pair(fast).floor().max(0.0);
    let high = pair(slow).ceil().min(dimensions as f64 - 1.0);
    Ok((low, if high == low { low + 0.001 } else { high }))
}

fn positive(attributes: &Attributes, name: &str) -> Result<Option<f64>> {
    match attributes.float(name)? {
        Some(value) if value <= 0.0 => Err(Error::input(format!("attribute `{name}` is {value} and should be positive"))),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    fn attributes(extra: &[(&'static str, Attribute)]) -> Attributes {
        let mut out =
            Attributes::from([(HEADS, Attribute::Integer(1)), (DIMENSIONS, Attribute::Integer(4)), (BASE, Attribute::Float(10_000.0))]);
        out.extend(extra.iter().cloned());
        out
    }

    fn turned(extra: &[(&'static str, Attribute)], position: f32, more: &[&Array]) -> Vec<f32> {
        let x = Array::new([1, 5], vec![1.0, 1.0, 0.0, 0.0, 7.0]).unwrap();
        let numbers = Array::new([1], vec![position]).unwrap();
        let inputs: Vec<&Array> = [&x, &numbers].into_iter().chain(more.iter().copied()).collect();
        crate::evaluate(ID, &inputs, &attributes(extra)).unwrap().values().to_vec()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6)
    }

    #[test]
    fn turns_halves_and_leaves_the_rest() {
        let at = |a: f32, b: f32| vec![a.cos(), b.cos(), a.sin(), b.sin(), 7.0];
        assert!(close(&turned(&[], 0.0, &[]), &[1.0, 1.0, 0.0, 0.0, 7.0]));
        assert!(close(&turned(&[], 3.0, &[]), &at(3.0, 0.03)));
        assert!(close(&turned(&[(FACTOR, Attribute::Float(2.0))], 3.0, &[]), &at(1.5, 0.015)));
        let divisors = Array::new([2], vec![1.0, 3.0]).unwrap();
        assert!(close(&turned(&[], 3.0, &[&divisors]), &at(3.0, 0.01)));
        let long = Array::new([2], vec![3.0, 3.0]).unwrap();
        let original = [(ORIGINAL_CONTEXT, Attribute::Integer(4))];
        assert!(close(&turned(&original, 3.0, &[&divisors, &long]), &at(3.0, 0.01)));
        assert!(close(&turned(&original, 4.0, &[&divisors, &long]), &at(4.0 / 3.0, 0.04 / 3.0)));
    }

    #[test]
    fn yarn_keeps_fast_pairs_and_stretches_slow_ones() {
        let extra =
            [(YARN_FACTOR, Attribute::Float(4.0)), (ORIGINAL_CONTEXT, Attribute::Integer(4096)), (YARN_BETA_FAST, Attribute::Float(32.0))];
        // The ramp of four elements lies between pair 0 and pair 3: the second pair is a third in.
        let second = 0.01 * (2.0 / 3.0) + 0.0025 / 3.0;
        let expected = [1.0_f32.cos(), f32::cos(second), 1.0_f32.sin(), f32::sin(second), 7.0];
        let got = turned(&extra, 1.0, &[]);
        // ln(4096 / (2 pi 32)) / ln(10000) * 2 = 0.65, rounded down 0; ln(4096 / (2 pi)) / ln(10000) * 2 = 1.41, rounded up 2.
        let halfway = 0.01 * 0.5 + 0.0025 * 0.5;
        let expected = [expected[0], f32::cos(halfway), expected[2], f32::sin(halfway), 7.0];
        assert!(close(&got, &expected), "{got:?} {expected:?}");
    }
}
