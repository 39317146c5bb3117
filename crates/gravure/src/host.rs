//! This machine as a target: what the system says about itself, and what a probe of its memory measures.

use std::collections::BTreeMap;

use gravure_base::{Error, Result};
use gravure_core::values::{ComputeUnit, Deployment, Figure, MemoryFacts, NumberType, Target};
use gravure_eval::bandwidth;

use crate::doctor::memory_bytes;
use crate::quantize::threads as thread_count;
use crate::targets::{HOST, Measuring};

/// Bytes that a core of an unknown machine reads in a second, and what all of them share at most.
const BANDWIDTH_OF_A_CORE: f64 = 12e9;
const BANDWIDTH_OF_A_SOCKET: f64 = 50e9;
/// Clock that is assumed where the system does not tell one.
const CLOCK: f64 = 3.0e9;

/// Operations in a cycle of one core, on bytes and on 32-bit floats, by a word among the processor's features;
/// the first that is there counts.
const RATES: &[(&str, f64, f64, &str)] = &[
    ("amx_int8", 2048.0, 64.0, "one tile product of 16 x 64 x 16 bytes in 16 cycles"),
    ("avx512_vnni", 128.0, 32.0, "one 512-bit multiply-add of bytes a cycle"),
    ("avx_vnni", 128.0, 32.0, "two 256-bit multiply-adds of bytes a cycle"),
    ("avx512bw", 64.0, 32.0, "a 512-bit multiply-add of bytes takes two instructions"),
    ("avx2", 64.0, 32.0, "a 256-bit multiply-add of bytes takes two instructions of two slots"),
    ("i8mm", 128.0, 16.0, "two matrix products of 2 x 8 x 2 bytes a cycle"),
    ("asimddp", 64.0, 16.0, "two 128-bit dot products a cycle"),
    ("asimd", 16.0, 8.0, "a multiply-add of bytes takes two instructions"),
];

/// The machine that this runs on.
///
/// # Errors
/// `Environment` where the system does not say how much memory there is.
pub(crate) fn detect(measuring: Measuring, threads: usize) -> Result<Target> {
    let threads = thread_count(threads);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let (total, available) = memory_bytes().ok_or_else(|| {
        Error::new(gravure_base::ErrorKind::Environment, "the system does not say how much memory it has")
            .help("write a target file: gravure targets x86-avx2 --toml")
    })?;
    let bandwidth = match measuring {
        Measuring::Measure => {
            Figure::from_source(bandwidth::read_bandwidth(threads), format!("measured: {threads} thread(s) read 512 MiB, the best of five"))
        }
        Measuring::Estimate => Figure::estimate(
            (BANDWIDTH_OF_A_CORE * threads as f64).min(BANDWIDTH_OF_A_SOCKET),
            "12 GB/s for each core, at most 50; --measure times the memory",
        ),
    };
    let share = match measuring {
        Measuring::Measure => Figure::estimate(0.9, "decoding reaches about nine tenths of what the probe reads"),
        Measuring::Estimate => Figure::estimate(0.8, "the estimate of the bandwidth is what cores usually reach"),
    };
    let features = features(&info);
    let words: Vec<&str> = features.iter().map(String::as_str).collect();
    let (word, bytes_rate, float_rate, why) = RATES.iter().find(|(word, ..)| words.contains(word)).copied().unwrap_or((
        "portable",
        4.0,
        2.0,
        "no vector instructions that are known",
    ));
    let clock = clock(&info);
    let operations = |rate: f64| {
        Figure::estimate(rate * clock * threads as f64, format!("{why}: {rate} operations, {threads} core(s), {:.2} GHz", clock / 1e9))
    };
    let backend = if cfg!(target_arch = "x86_64") {
        "cpu-x86"
    } else if word == "asimd" {
        "cpu-arm-neon"
    } else {
        "cpu-arm"
    };
    let model = field(&info, "model name").unwrap_or(std::env::consts::ARCH);
    Ok(Target {
        id: HOST.to_owned(),
        name: format!("this machine: {model}"),
        doc: format!("{threads} core(s), {}", words.join(" ")),
        class: "host".to_owned(),
        isa: gravure_simd::Isa::available().iter().map(|isa| isa.name().to_owned()).chain(features.iter().cloned()).collect(),
        alignment: Vec::new(),
        notes: vec!["GPUs and NPUs of this machine are not looked for: name the target that has them".to_owned()],
        memory: MemoryFacts {
            total_bytes: Figure::from_source(total as f64, "/proc/meminfo: MemTotal"),
            usable_bytes: Figure::from_source(available as f64, "/proc/meminfo: MemAvailable at this moment"),
        },
        units: vec![ComputeUnit {
            id: "cpu".to_owned(),
            name: format!("{threads} core(s) at {:.2} GHz", clock / 1e9),
            bandwidth,
            operations: BTreeMap::from([(NumberType::Int8, operations(bytes_rate)), (NumberType::Fp32, operations(float_rate))]),
            watts: Figure::estimate(
                10.0 * threads as f64,
                "10 W for each busy core; `gravure bench` measures energy where the system has a counter",
            ),
        }],
        runtimes: vec![
            deployment("llama.cpp", backend, "the portable runtime for text, widest choice of encodings", &share),
            deployment("gravure", "cpu", "the same files, already here: `gravure bench` checks this prediction", &share),
        ],
    })
}

fn deployment(runtime: &str, backend: &str, reason: &str, share: &Figure) -> Deployment {
    Deployment {
        runtime: runtime.to_owned(),
        backend: backend.to_owned(),
        unit: "cpu".to_owned(),
        reason: reason.to_owned(),
        decode_efficiency: Some(share.clone()),
        prefill_efficiency: None,
    }
}

/// Features of the processor that products of matrices use.
fn features(info: &str) -> Vec<String> {
    let flags = field(info, "flags").or_else(|| field(info, "Features")).unwrap_or_default();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    RATES.iter().map(|(word, ..)| *word).filter(|word| flags.contains(word)).map(str::to_owned).collect()
}

/// Cycles in a second, the highest that a core shows now.
fn clock(info: &str) -> f64 {
    let mhz = info.lines().filter(|l| l.starts_with("cpu MHz")).filter_map(|l| l.split(':').nth(1)?.trim().parse::<f64>().ok());
    let best = mhz.fold(0.0, f64::max) * 1e6;
    if best > 1e8 { best } else { CLOCK }
}

/// The first value of a key of `/proc/cpuinfo`.
fn field<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    let line = info.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
    line.split_once(':').map(|(_, value)| value.trim()).filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "processor\t: 0\nmodel name\t: Some CPU\ncpu MHz\t\t: 2500.0\nflags\t\t: fpu avx2 avx512bw avx512_vnni\n\nprocessor\t: 1\ncpu MHz\t\t: 3700.5\n";

    #[test]
    fn the_system_tells_features_and_clock() {
        assert_eq!(features(INFO), ["avx512_vnni", "avx512bw", "avx2"]);
        assert_eq!(clock(INFO), 3700.5e6);
        assert_eq!(field(INFO, "model name"), Some("Some CPU"));
        assert_eq!(clock(""), CLOCK);
        assert!(features("").is_empty());
    }

    #[test]
    fn this_machine_is_a_target_that_its_own_rules_accept() {
        let target = detect(Measuring::Estimate, 2).unwrap();
        let text = toml::to_string(&target).unwrap();
        assert_eq!(gravure_targets::parse(&text).unwrap(), target);
        assert!(target.memory.usable_bytes.value > 1e6);
    }
}
