//! This machine as a target: what the system says about itself, and what a probe of its memory measures.

use std::collections::BTreeMap;

use gravure_base::{Error, ErrorKind, Result};
use gravure_core::values::{ComputeUnit, Deployment, Figure, MemoryFacts, NumberType, Target};
use gravure_eval::bandwidth;
use gravure_targets::{HostRules, host_rules};

use crate::bench_kernels::decode_shares;
use crate::catalog;
use crate::doctor::memory_bytes;
use crate::quantize::threads as thread_count;
use crate::targets::{HOST, Measuring};

/// The machine that this runs on.
///
/// # Errors
/// `Environment` where the system does not say how much memory there is; those of timing products.
pub(crate) fn detect(measuring: Measuring, threads: usize) -> Result<Target> {
    let rules = host_rules()?;
    let threads = thread_count(threads);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let (total, available) = memory_bytes().ok_or_else(|| {
        Error::new(ErrorKind::Environment, "the system does not say how much memory it has")
            .help("write a target file of your own: `gravure targets ID --toml` prints one to begin with")
    })?;
    let (bandwidth, share) = match measuring {
        Measuring::Measure => {
            let source = format!("measured: {threads} thread(s) read 512 MiB, the best of five");
            (Figure::from_source(bandwidth::read_bandwidth(threads), source), &rules.decode_efficiency_measured)
        }
        Measuring::Estimate => {
            let (core, most) = (rules.bandwidth_of_a_core.value, rules.bandwidth_at_most.value);
            let reasoning = format!("{:.0} GB/s for each core, at most {:.0}; --measure times the memory", core / 1e9, most / 1e9);
            (Figure::estimate((core * threads as f64).min(most), reasoning), &rules.decode_efficiency_estimated)
        }
    };
    let features = features(&info, rules);
    let has = |feature: &str| feature.is_empty() || features.iter().any(|f| f == feature);
    let rate = rules.rates.iter().find(|r| has(&r.feature)).ok_or_else(|| Error::bug("no rate is for any processor"))?;
    let clock = clock(&info).unwrap_or(rules.clock.value);
    let operations = |each: f64| {
        let reasoning = format!("{}: {each} operations, {threads} core(s), {:.2} GHz", rate.reasoning, clock / 1e9);
        Figure::estimate(each * clock * threads as f64, reasoning)
    };
    let model = field(&info, "model name").unwrap_or(std::env::consts::ARCH);
    let watts = Figure { value: rules.watts_of_a_core.value * threads as f64, ..rules.watts_of_a_core.clone() };
    let mut runtimes = Vec::new();
    for runtime in &rules.runtimes {
        let Some(by) = runtime.backends.iter().find(|by| has(&by.feature)) else { continue };
        let decode_efficiency_of = match measuring {
            Measuring::Measure => shares(&runtime.runtime, &rules.products_share, threads)?,
            Measuring::Estimate => BTreeMap::new(),
        };
        runtimes.push(Deployment {
            runtime: runtime.runtime.clone(),
            backend: by.backend.clone(),
            unit: "cpu".to_owned(),
            reason: runtime.reason.clone(),
            decode_efficiency: Some(share.clone()),
            decode_efficiency_of,
            prefill_efficiency: None,
        });
    }
    Ok(Target {
        id: HOST.to_owned(),
        name: format!("this machine: {model}"),
        doc: format!("{threads} core(s), {}", features.join(" ")),
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
            operations: BTreeMap::from([(NumberType::Int8, operations(rate.int8)), (NumberType::Fp32, operations(rate.fp32))]),
            watts,
        }],
        runtimes,
    })
}

/// Shares of the bandwidth that decoding by this program's own products reaches here, by encoding, as they reach them and are
/// part of a step; nothing of runtimes that have others.
fn shares(runtime: &str, of_a_step: &Figure, threads: usize) -> Result<BTreeMap<String, Figure>> {
    let profile = gravure_targets::runtime(runtime)?;
    let registered = profile.registered.as_deref().map(|id| catalog().runtime(id)).transpose()?;
    if registered.is_none_or(gravure_core::Runtime::opens_files) {
        return Ok(BTreeMap::new());
    }
    let encodings: Vec<_> = profile.encodings.iter().filter_map(|id| catalog().encoding(id).ok()).collect();
    let figure = |share: f64| Figure::from_source(share * of_a_step.value, "measured: its product against a plain read, in turn");
    Ok(decode_shares(&encodings, threads)?.into_iter().map(|(id, share)| (id.to_owned(), figure(share))).collect())
}

/// Features of the processor that products of matrices use.
fn features(info: &str, rules: &HostRules) -> Vec<String> {
    let flags = field(info, "flags").or_else(|| field(info, "Features")).unwrap_or_default();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    rules.rates.iter().map(|r| &r.feature).filter(|word| flags.contains(&word.as_str())).cloned().collect()
}

/// Cycles in a second, the highest that a core shows now; `None` where the system does not tell.
fn clock(info: &str) -> Option<f64> {
    let mhz = info.lines().filter(|l| l.starts_with("cpu MHz")).filter_map(|l| l.split(':').nth(1)?.trim().parse::<f64>().ok());
    let best = mhz.fold(0.0, f64::max) * 1e6;
    (best > 1e8).then_some(best)
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
        let rules = host_rules().unwrap();
        assert_eq!(features(INFO, rules), ["avx512_vnni", "avx512bw", "avx2"]);
        assert_eq!(clock(INFO), Some(3700.5e6));
        assert_eq!(field(INFO, "model name"), Some("Some CPU"));
        assert_eq!(clock(""), None);
        assert!(features("", rules).is_empty());
    }

    #[test]
    fn this_machine_is_a_target_that_its_own_rules_accept() {
        let target = detect(Measuring::Estimate, 2).unwrap();
        let text = toml::to_string(&target).unwrap();
        assert_eq!(gravure_targets::parse(&text).unwrap(), target);
        assert!(target.memory.usable_bytes.value > 1e6);
    }
}
