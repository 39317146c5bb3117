//! `tiny_model DESIGN FOLDER [OPTIONS-JSON]` writes a tiny random model; for the options see
//! `Options::from_json`. `tiny_model --adapter DESIGN FOLDER OPTIONS-JSON ADAPTER-JSON` writes a low-rank adapter for that
//! model; see `AdapterOptions::from_json`. Used by the scripts that record what reference programs make of it.

use std::path::Path;

use gravure_testing::tiny_model::{self, AdapterOptions, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, design, folder, model, adapter] = arguments.as_slice()
        && flag == "--adapter"
    {
        let model = Options::from_json(&serde_json::from_str(model)?)?;
        let adapter = AdapterOptions::from_json(&serde_json::from_str(adapter)?)?;
        return Ok(tiny_model::write_adapter(design, &model, &adapter, Path::new(folder))?);
    }
    let (design, folder) = match arguments.as_slice() {
        [design, folder] | [design, folder, _] => (design, folder),
        _ => return Err("usage: tiny_model [--adapter] DESIGN FOLDER [OPTIONS-JSON [ADAPTER-JSON]]".into()),
    };
    let given = serde_json::from_str(arguments.get(2).map_or("{}", String::as_str))?;
    Ok(tiny_model::write(design, &Options::from_json(&given)?, Path::new(folder))?)
}
