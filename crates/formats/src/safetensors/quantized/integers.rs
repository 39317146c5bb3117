//! GPTQ, AWQ and MLX: integers in groups.

use gravure_base::{Error, Result};
use gravure_core::{Catalog, PlaneParameters, PlaneRole, Tensor};
use serde_json::{Map, Value as Json};

use super::groups::Groups;
use super::planes;
use super::scheme::{bits, group_size};

type Object = Map<String, Json>;

/// Settings of GPTQ.
#[derive(Debug)]
pub(super) struct Gptq {
    bits: u32,
    group_size: Option<u64>,
    encoding: &'static str,
}

impl Gptq {
    pub(super) fn parse(object: &Object) -> Result<Self> {
        let encoding = match object.get("checkpoint_format").map(|v| v.as_str()) {
            None | Some(Some("gptq")) => "gptq",
            Some(Some("gptq_v2")) => "gptq_v2",
            Some(other) => return Err(Error::unsupported(format!("the GPTQ checkpoint format {other:?}"))),
        };
        if object.get("is_marlin_format") == Some(&Json::Bool(true)) {
            return Err(Error::unsupported("GPTQ weights in Marlin's order"));
        }
        if object.get("dynamic").is_some_and(|d| d.as_object().is_some_and(|d| !d.is_empty())) {
            return Err(Error::unsupported("GPTQ with settings of its own for some modules (`dynamic`)"));
        }
        Ok(Self { bits: bits(object, &["bits"])?, group_size: group_size(object, &["group_size"])?, encoding })
    }

    pub(super) fn describe(&self) -> String {
        describe("GPTQ", self.bits, self.group_size)
    }
}

fn describe(name: &str, bits: u32, group_size: Option<u64>) -> String {
    let groups = group_size.map_or("a scale for each row".to_owned(), |n| format!("groups of {n}"));
    format!("{name}, {bits} bits, {groups}")
}

/// The two dimensions of a matrix.
fn dimensions(tensor: &Tensor) -> Result<[u64; 2]> {
    match tensor.shape.dimensions() {
        [a, b] => Ok([*a, *b]),
        _ => Err(Error::input(format!("`{}` is {} instead of a matrix", tensor.name, tensor.shape))),
    }
}

pub(super) fn gptq(scheme: &Gptq, base: &str, groups: &mut Groups, catalog: &Catalog) -> Result<Tensor> {
    let codes = groups.need(&format!("{base}.qweight"))?;
    let scales = groups.need(&format!("{base}.scales"))?;
    let zeros = groups.take(&format!("{base}.qzeros"));
    let index = groups.take(&format!("{base}.g_idx"));
    let [words, rows] = dimensions(&codes)?;
    let columns = words.checked_mul(32).ok_or_else(|| Error::input("is impossibly large"))? / u64::from(scheme.bits);
    let parameters = PlaneParameters {
        rows,
        columns,
        bits: scheme.bits,
        group_size: scheme.group_size.unwrap_or(columns),
        numbers: scales.encoding,
        zero_points: zeros.is_some(),
        group_index: index.is_some(),
    };
    let mut stored = vec![(PlaneRole::Codes, codes), (PlaneRole::Scales, scales)];
    stored.extend(zeros.map(|t| (PlaneRole::ZeroPoints, t)));
    stored.extend(index.map(|t| (PlaneRole::GroupIndex, t)));
    planes::tensor(format!("{base}.weight"), scheme.encoding, parameters, stored, catalog)
}

/// Settings of AWQ.
#[derive(Debug)]
pub(super) struct Awq {
    bits: u32,
    group_size: Option<u64>,
}

impl Awq {
    pub(super) fn parse(object: &Object) -> Result<Self> {
        match object.get("version").map(|v| v.as_str().map(str::to_ascii_lowercase)) {
            None => {}
            Some(Some(version)) if version == "gemm" => {}
            Some(other) => return Err(Error::unsupported(format!("AWQ weights in the order {other:?}"))),
        }
        Ok(Self { bits: bits(object, &["bits", "w_bit"])?, group_size: group_size(object, &["group_size", "q_group_size"])? })
    }

    pub(super) fn describe(&self) -> String {
        describe("AWQ", self.bits, self.group_size)
    }
}

pub(super) fn awq(scheme: &Awq, base: &str, groups: &mut Groups, catalog: &Catalog) -> Result<Tensor> {
    let codes = groups.need(&format!("{base}.qweight"))?;
    let scales = groups.need(&format!("{base}.scales"))?;
    let zeros = groups.take(&format!("{base}.qzeros"));
    let [columns, words] = dimensions(&codes)?;
    let rows = words.checked_mul(32).ok_or_else(|| Error::input("is impossibly large"))? / u64::from(scheme.bits);
    let parameters = PlaneParameters {
        rows,
        columns,
        bits: scheme.bits,
        group_size: scheme.group_size.unwrap_or(columns),
        numbers: scales.encoding,
        zero_points: zeros.is_some(),
        group_index: false,
    };
    let mut stored = vec![(PlaneRole::Codes, codes), (PlaneRole::Scales, scales)];
    stored.extend(zeros.map(|t| (PlaneRole::ZeroPoints, t)));
    planes::tensor(format!("{base}.weight"), "awq", parameters, stored, catalog)
}

/// Settings of MLX: for all modules, and for single ones by their path.
#[derive(Debug)]
pub(super) struct Mlx {
    bits: u32,
    group_size: u64,
    modules: Vec<(String, Option<(u32, u64)>)>,
}

impl Mlx {
    pub(super) fn parse(object: &Object) -> Result<Self> {
        let settings = |object: &Object| {
            match object.get("mode").map(|v| v.as_str()) {
                None | Some(Some("affine")) => {}
                Some(other) => return Err(Error::unsupported(format!("MLX's mode {other:?}"))),
            }
            let group_size = group_size(object, &["group_size"])?.ok_or_else(|| Error::input("groups of -1 weights"))?;
            Ok::<_, Error>((bits(object, &["bits"])?, group_size))
        };
        let (bits, group_size) = settings(object)?;
        let mut modules = Vec::new();
        for (path, value) in object {
            match value {
                Json::Bool(false) => modules.push((path.clone(), None)),
                Json::Object(own) => modules.push((path.clone(), Some(settings(own).map_err(|e| e.at_item(path))?))),
                _ => {}
            }
        }
        Ok(Self { bits, group_size, modules })
    }

    pub(super) fn describe(&self) -> String {
        let own = self.modules.len();
        let more = if own > 0 { format!(", {own} modules by themselves") } else { String::new() };
        describe("MLX", self.bits, Some(self.group_size)) + &more
    }

    fn of(&self, base: &str) -> Option<(u32, u64)> {
        let own = self.modules.iter().find(|(path, _)| path == base);
        own.map_or(Some((self.bits, self.group_size)), |(_, settings)| *settings)
    }
}

pub(super) fn mlx(scheme: &Mlx, base: &str, groups: &mut Groups, catalog: &Catalog) -> Result<Option<Tensor>> {
    let scales_name = format!("{base}.scales");
    let Some(scales) = groups.get(&scales_name) else { return Ok(None) };
    let Some((bits, group_size)) = scheme.of(base) else {
        return Err(Error::input("is said not to be quantized, but has scales"));
    };
    let [rows, count] = dimensions(scales)?;
    let columns = count.checked_mul(group_size).ok_or_else(|| Error::input("is impossibly large"))?;
    let parameters = PlaneParameters { rows, columns, bits, group_size, numbers: scales.encoding, zero_points: false, group_index: false };
    let codes = groups.need(&format!("{base}.weight"))?;
    let scales = groups.need(&scales_name)?;
    let biases = groups.need(&format!("{base}.biases"))?;
    let stored = vec![(PlaneRole::Codes, codes), (PlaneRole::Scales, scales), (PlaneRole::Biases, biases)];
    planes::tensor(format!("{base}.weight"), "mlx_affine", parameters, stored, catalog).map(Some)
}
