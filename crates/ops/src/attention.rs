//! Scaled dot-product attention (Vaswani et al. 2017) with shared key-value heads (Ainslie et al.
//! 2023): each head of a row of `q` weighs the rows of `v` by the softmax of its products with the
//! rows of `k`.
//!
//! Row `i` sees the rows `j <= i` where attention is causal, and of these only `j > i - window`
//! where there is a window. Scores may be bounded softly before the softmax.

use gravure_base::{Error, Result};

use crate::array::dot;
use crate::attribute::Get;
use crate::op::misfit;
use crate::softcap::capped;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "attention";
/// Attribute: query heads.
pub const HEADS: &str = "heads";
/// Attribute: key-value heads.
pub const KV_HEADS: &str = "kv_heads";
/// Attribute: factor of products.
pub const SCALE: &str = "scale";
/// Attribute: whether rows see only themselves and those before.
pub const CAUSAL: &str = "causal";
/// Attribute: how many rows a row sees.
pub const WINDOW: &str = "window";
/// Attribute: soft bound of scores.
pub const SOFTCAP: &str = "softcap";

/// `q [positions, heads * length]`, `k [positions, kv_heads * length]`,
/// `v [positions, kv_heads * value_length]` to `[positions, heads * value_length]`.
#[derive(Debug, Clone, Copy)]
pub struct Attention;

const fn rule(name: &'static str, kind: AttributeKind, required: bool, doc: &'static str) -> AttributeRule {
    AttributeRule { name, kind, required, doc }
}

impl Op for Attention {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "scaled dot-product attention with shared key-value heads"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("q"), InputRule::required("k"), InputRule::required("v")] }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        const RULES: &[AttributeRule] = &[
            rule(HEADS, AttributeKind::Integer, true, "query heads"),
            rule(KV_HEADS, AttributeKind::Integer, true, "key-value heads, a divisor of the query heads"),
            rule(SCALE, AttributeKind::Float, true, "factor of the products of queries and keys"),
            rule(CAUSAL, AttributeKind::Flag, true, "whether a row sees only itself and those before it"),
            rule(WINDOW, AttributeKind::Integer, false, "rows that a row sees, itself among them; all where absent"),
            rule(SOFTCAP, AttributeKind::Float, false, "soft bound of scores, positive; none where absent"),
        ];
        RULES
    }

    fn shape(&self, inputs: &[&[usize]], attributes: &Attributes) -> Result<Vec<usize>> {
        let (heads, kv_heads) = (attributes.count(HEADS)?, attributes.count(KV_HEADS)?);
        let (&[positions, q], &[keys, k], &[values, v]) = (inputs[0], inputs[1], inputs[2]) else {
            return Err(misfit("rows of queries, keys and values are expected", inputs));
        };
        let fits = positions == keys
            && keys == values
            && heads.is_multiple_of(kv_heads)
            && q.is_multiple_of(heads)
            && k.is_multiple_of(kv_heads)
            && v.is_multiple_of(kv_heads)
            && q >= heads
            && v >= kv_heads
            && q / heads == k / kv_heads;
        if !fits {
            return Err(misfit(&format!("{heads} query heads and {kv_heads} key-value heads are expected"), inputs));
        }
        Ok(vec![positions, v / kv_heads * heads])
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let (q, k, v) = (inputs[0], inputs[1], inputs[2]);
        let (heads, kv_heads) = (attributes.count(HEADS)?, attributes.count(KV_HEADS)?);
        let scale = attributes.required_float(SCALE)?;
        let causal = attributes.flag(CAUSAL);
        let window = match attributes.integer(WINDOW)? {
            Some(_) => Some(attributes.count(WINDOW)?),
            None => None,
        };
        let softcap = attributes.float(SOFTCAP)?;
        if softcap.is_some_and(|limit| limit <= 0.0) {
            return Err(Error::input(format!("attribute `{SOFTCAP}` should be positive")));
        }
        let positions = q.shape()[0];
        let (length, value_length) = (q.row_length() / heads, v.row_length() / kv_heads);
        let head_of = |row: &'_ Array, position: usize, head: usize, length: usize| -> Vec<f32> {
            row.row(position).and_then(|r| r.get(head * length..(head + 1) * length)).unwrap_or_default().to_vec()
        };
        let mut out = Vec::with_capacity(positions * heads * value_length);
        for i in 0..positions {
            let first =
                if causal { window.map_or(0, |w| (i + 1).saturating_sub(w)) } else { window.map_or(0, |w| i.saturating_sub(w - 1)) };
            let end = if causal { i + 1 } else { window.map_or(positions, |w| positions.min(i.saturating_add(w))) };
            for head in 0..heads {
                let shared = head / (heads / kv_heads);
                let query = head_of(q, i, head, length);
                let scores: Vec<f64> = (first..end)
                    .map(|j| {
                        let score = dot(&query, &head_of(k, j, shared, length)) * scale;
                        softcap.map_or(score, |limit| capped(score, limit))
                    })
                    .collect();
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
                let total: f64 = weights.iter().sum();
                let mut sum = vec![0.0; value_length];
                for (j, weight) in (first..end).zip(&weights) {
                    for (s, value) in sum.iter_mut().zip(head_of(v, j, shared, value_length)) {
                        *s += weight / total * f64::from(value);
                    }
                }
                out.extend(sum.into_iter().map(|s| s as f32));
            }
        }
        Array::new([positions, heads * value_length], out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    fn attributes(extra: &[(&'static str, Attribute)]) -> Attributes {
        let mut out = Attributes::from([
            (HEADS, Attribute::Integer(2)),
            (KV_HEADS, Attribute::Integer(1)),
            (SCALE, Attribute::Float(1.0)),
            (CAUSAL, Attribute::Flag(true)),
        ]);
        out.extend(extra.iter().cloned());
        out
    }

    fn run(extra: &[(&'static str, Attribute)]) -> Vec<f32> {
        // Two heads of one element: the first asks for nothing, the second for high keys.
        let q = Array::new([3, 2], vec![0.0, 9.0, 0.0, 9.0, 0.0, 9.0]).unwrap();
        let k = Array::new([3, 1], vec![10.0, 0.0, 5.0]).unwrap();
        let v = Array::new([3, 1], vec![1.0, 2.0, 6.0]).unwrap();
        crate::evaluate(ID, &[&q, &k, &v], &attributes(extra)).unwrap().values().to_vec()
    }

    #[test]
    fn weighs_what_it_sees() {
        let close = |a: &[f32], b: &[f32]| assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-5), "{a:?} {b:?}");
        close(&run(&[]), &[1.0, 1.0, 1.5, 1.0, 3.0, 1.0]);
        close(&run(&[(WINDOW, Attribute::Integer(2))]), &[1.0, 1.0, 1.5, 1.0, 4.0, 6.0]);
        close(&run(&[(CAUSAL, Attribute::Flag(false))]), &[3.0, 1.0, 3.0, 1.0, 3.0, 1.0]);
        // A tiny bound makes all scores equal.
        close(&run(&[(SOFTCAP, Attribute::Float(1e-9))]), &[1.0, 1.0, 1.5, 1.5, 3.0, 3.0]);
    }
}
