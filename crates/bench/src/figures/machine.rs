//! Where figures were taken.

use std::fs;

/// What matters about a machine and a moment, as names and values.
pub(crate) fn facts(command: &str) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = rustix::system::uname();
    let text = |words: &std::ffi::CStr| words.to_string_lossy().into_owned();
    vec![
        ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
        ("command", command.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("processor", format!("{cores} cores of {}", line("/proc/cpuinfo", "model name"))),
        ("memory", line("/proc/meminfo", "MemTotal")),
        (
            "kernel",
            format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine())),
        ),
        ("load before", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
    ]
}

/// What stands behind a name and a colon in a file of the system.
fn line(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    found.unwrap_or("unknown").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_and_a_kernel() {
        let facts = facts("antiphon bench figures");
        let fact = |name: &str| facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.as_str());
        assert!(fact("memory").is_some_and(|memory| memory.ends_with("kB")));
        assert!(fact("kernel").is_some_and(|kernel| kernel.starts_with("Linux")));
        assert_eq!(fact("command"), Some("antiphon bench figures"));
    }
}
