//! Memory of this process, and of one that works for it.

/// The most memory that this process has held resident so far, in bytes, where the system says it.
pub fn peak_resident_bytes() -> Option<u64> {
    field("self", "VmHWM:")
}

/// The same of another process, by its number.
pub fn peak_resident_bytes_of(process: u32) -> Option<u64> {
    field(&process.to_string(), "VmHWM:")
}

/// The memory that this process holds resident now, in bytes, where the system says it.
pub fn resident_bytes() -> Option<u64> {
    field("self", "VmRSS:")
}

/// A line of Linux's account, in kibibytes there.
fn field(process: &str, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
