//! Where figures were taken.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// How much of a digest tells one build from another.
const DIGEST_LETTERS: usize = 16;

/// When figures are taken.
pub(crate) fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// What matters about a machine and the builds, as names and values. `program` is that of the daemons.
pub(crate) fn facts(date: &str, command: &str, program: &Path) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = rustix::system::uname();
    let text = |words: &std::ffi::CStr| words.to_string_lossy().into_owned();
    vec![
        ("date", date.to_owned()),
        ("command", command.to_owned()),
        ("measured by", format!("antiphon {}", env!("CARGO_PKG_VERSION"))),
        ("daemons", build(program)),
        ("processor", format!("{cores} cores of {}", line("/proc/cpuinfo", "model name"))),
        ("memory", line("/proc/meminfo", "MemTotal")),
        (
            "kernel",
            format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine())),
        ),
        ("load before", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
    ]
}

/// Which build a program is: versions last for many builds, so with the start of its digest.
fn build(program: &Path) -> String {
    let version = output(Command::new(program).arg("--version").stdin(Stdio::null()));
    let version = version.unwrap_or_else(|| "unknown version".to_owned());
    match digest(program) {
        Some(digest) => format!("{version}; SHA-256 of the program: {digest}…"),
        None => format!("{version}; SHA-256 of the program: unknown"),
    }
}

/// The start of what `sha256sum` says of a file, so that a reader can compare without a tool of ours.
fn digest(path: &Path) -> Option<String> {
    let said = output(Command::new("sha256sum").stdin(File::open(path).ok()?))?;
    said.get(..DIGEST_LETTERS).map(str::to_owned)
}

/// The first line that a program prints, if it can do what it was told.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
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
    fn a_machine_has_memory_a_kernel_and_daemons_of_some_build() {
        let facts = facts(&date(), "antiphon bench figures", Path::new("/bin/true"));
        let fact = |name: &str| facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.as_str());
        assert!(fact("memory").is_some_and(|memory| memory.ends_with("kB")));
        assert!(fact("kernel").is_some_and(|kernel| kernel.starts_with("Linux")));
        assert!(fact("date").is_some_and(|date| date.ends_with("UTC")));
        assert!(fact("daemons").is_some_and(|build| build.contains("SHA-256")));
        assert_eq!(fact("command"), Some("antiphon bench figures"));
    }

    #[test]
    fn a_digest_is_the_start_of_the_standard_one() {
        let empty = digest(Path::new("/dev/null"));
        // Without coreutils there is none.
        assert!(empty.is_none() || empty.as_deref() == Some("e3b0c44298fc1c14"), "{empty:?}");
        assert_eq!(build(Path::new("/nowhere")), "unknown version; SHA-256 of the program: unknown");
    }
}
