//! `tiny_model DESIGN FOLDER [OPTIONS-JSON]` writes a tiny random model; the options are `dtype`
//! (`f32`, `f16`, `bf16`), `shards`, `layers`, `wide`, `transformers4` and `config` (entries of
//! `config.json`). Used by `scripts/reference_conversion.py`.

use std::path::Path;

use gravure_testing::tiny_model::{self, Dtype, Options, Size, Spelling};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (design, folder) = match arguments.as_slice() {
        [design, folder] | [design, folder, _] => (design, folder),
        _ => return Err("usage: tiny_model DESIGN FOLDER [OPTIONS-JSON]".into()),
    };
    let given: Value = serde_json::from_str(arguments.get(2).map_or("{}", String::as_str))?;
    let mut options = Options::default();
    for (key, value) in given.as_object().ok_or("the options are not an object")? {
        match key.as_str() {
            "dtype" => {
                options.dtype = match value.as_str() {
                    Some("f32") => Dtype::F32,
                    Some("f16") => Dtype::F16,
                    Some("bf16") => Dtype::BF16,
                    _ => return Err(format!("unknown dtype {value}").into()),
                }
            }
            "shards" => options.shards = usize::try_from(value.as_u64().ok_or("shards")?)?,
            "layers" => options.layers = usize::try_from(value.as_u64().ok_or("layers")?)?,
            "wide" if value == &Value::Bool(true) => options.size = Size::Wide,
            "transformers4" if value == &Value::Bool(true) => options.spelling = Spelling::Transformers4,
            "config" => options.config = value.as_object().ok_or("config")?.clone().into_iter().collect(),
            other => return Err(format!("unknown option {other}: {value}").into()),
        }
    }
    Ok(tiny_model::write(design, &options, Path::new(folder))?)
}
