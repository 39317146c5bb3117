//! Energy of the processor packages, where the machine exposes it: Linux's powercap counters.

use std::path::PathBuf;

const ROOT: &str = "/sys/class/powercap";

/// Counters of all packages at one time.
#[derive(Debug, Clone)]
pub struct EnergyMeter {
    packages: Vec<Package>,
}

#[derive(Debug, Clone)]
struct Package {
    folder: PathBuf,
    start: u64,
}

fn number(path: PathBuf) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl EnergyMeter {
    /// Reads the counters; `None` where there are none, or they may not be read.
    pub fn start() -> Option<Self> {
        let entries = std::fs::read_dir(ROOT).ok()?;
        let mut packages = Vec::new();
        for entry in entries.flatten() {
            // Packages are `intel-rapl:0`; their parts, which would count twice, have a second colon.
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.matches(':').count() == 1
                && let Some(start) = number(entry.path().join("energy_uj"))
            {
                packages.push(Package { folder: entry.path(), start });
            }
        }
        (!packages.is_empty()).then_some(Self { packages })
    }

    /// Joules since the start; `None` where a counter can no longer be read.
    pub fn joules(&self) -> Option<f64> {
        let mut total = 0.0;
        for package in &self.packages {
            let now = number(package.folder.join("energy_uj"))?;
            let micro = match now.checked_sub(package.start) {
                Some(difference) => difference,
                // The counter has wrapped around.
                None => number(package.folder.join("max_energy_range_uj"))?.checked_sub(package.start)?.checked_add(now)?,
            };
            total += micro as f64 / 1e6;
        }
        Some(total)
    }
}
