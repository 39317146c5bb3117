//! Every device and runtime of this build. The text of a file is part of the program, so that it needs no
//! folder beside it.

macro_rules! files {
    ($folder:literal, $($id:literal),+ $(,)?) => {
        &[$(($id, include_str!(concat!("../data/", $folder, "/", $id, ".toml")))),+]
    };
}

/// Id and text of every target, in the order of `gravure targets`.
pub static DEVICES: &[(&str, &str)] = files![
    "devices",
    "x86-avx2",
    "x86-avx512",
    "intel-meteor-lake",
    "intel-lunar-lake",
    "xeon-amx",
    "amd-ryzen-ai-300",
    "amd-ryzen-ai-max",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "jetson-orin-nano",
    "rtx-4060",
    "h100",
    "apple-m1",
    "apple-m4",
    "apple-a18-pro",
    "snapdragon-8-gen-3",
    "snapdragon-8-elite",
    "snapdragon-8-elite-gen-5",
    "snapdragon-x-elite",
    "android-midrange",
    "graviton4",
    "ampere-altra",
    "browser-webgpu",
    "browser-wasm",
];

/// Id and text of every runtime profile.
pub static RUNTIMES: &[(&str, &str)] =
    files!["runtimes", "llama.cpp", "gravure", "openvino", "mlx", "coreml", "onnxruntime", "qnn", "tensorrt-llm", "vllm",];

#[cfg(test)]
mod tests;
