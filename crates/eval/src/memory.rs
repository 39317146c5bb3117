//! Memory of this process.

/// The most memory that this process has held resident so far, in bytes, where the system says it.
pub fn peak_resident_bytes() -> Option<u64> {
    field("VmHWM:")
}

/// The memory that this process holds resident now, in bytes, where the system says it.
pub fn resident_bytes() -> Option<u64> {
    field("VmRSS:")
}

/// A line of Linux's account, in kibibytes there.
fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
