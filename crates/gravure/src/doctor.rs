//! What this machine offers: processor features, memory, disk, runtimes that can be found.

use std::path::Path;

use gravure_base::free_space;
use serde::Serialize;

use crate::catalog;

/// One line of the answer.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct DoctorReport {
    /// Version of this program.
    pub version: &'static str,
    /// Processor architecture, for example `x86_64`.
    pub architecture: &'static str,
    /// The checks in order.
    pub checks: Vec<Check>,
}

/// Looks at the machine; `folder` is where output would go.
pub fn doctor(folder: &Path) -> DoctorReport {
    let mut checks = vec![
        Check {
            name: "cores".into(),
            ok: true,
            found: std::thread::available_parallelism().map_or_else(|e| e.to_string(), |n| n.to_string()),
        },
        Check {
            name: "vector instructions".into(),
            ok: true,
            found: gravure_simd::Isa::available().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
        },
    ];
    let memory = memory_bytes().map(|(_, available)| available);
    checks.push(Check {
        name: "free memory".into(),
        ok: memory.is_none_or(|m| m > 512 << 20),
        found: memory.map_or_else(|| "unknown".into(), |m| format!("{} MiB", m >> 20)),
    });
    checks.push(match free_space(folder) {
        Ok(bytes) => {
            Check { name: format!("free disk at {}", folder.display()), ok: bytes > 1 << 30, found: format!("{} MiB", bytes >> 20) }
        }
        Err(e) => Check { name: "free disk".into(), ok: false, found: e.message().to_owned() },
    });
    for runtime in catalog().runtimes {
        let found = runtime.check().unwrap_or_else(|e| format!("not found (optional): {}", e.message()));
        checks.push(Check { name: format!("runtime {}", runtime.id()), ok: true, found });
    }
    for (name, library) in [("onnxruntime", "libonnxruntime.so"), ("openvino", "libopenvino_c.so")] {
        let found = find_library(library);
        checks.push(Check { name: format!("runtime {name}"), ok: true, found: found.unwrap_or_else(|| "not found (optional)".into()) });
    }
    DoctorReport { version: env!("CARGO_PKG_VERSION"), architecture: std::env::consts::ARCH, checks }
}

/// All memory and what of it is free, in bytes, as the Linux kernel tells it.
pub(crate) fn memory_bytes() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

/// The first match in the loader's usual folders and `LD_LIBRARY_PATH`.
fn find_library(name: &str) -> Option<String> {
    let extra = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let usual = [
        "/usr/lib",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/opt/intel/openvino/runtime/lib/intel64",
    ];
    extra
        .split(':')
        .filter(|p| !p.is_empty())
        .chain(usual)
        .map(|folder| Path::new(folder).join(name))
        .find(|p| p.exists())
        .map(|p| p.display().to_string())
}
