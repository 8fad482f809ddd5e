//! What the system knows of processes, from `/proc`.

use std::fs;
use std::io;

use crate::error::BenchError;

/// What a process has used so far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    /// Processor time of all its threads, in user and in kernel, in seconds; resolved to 10 ms.
    pub cpu_seconds: f64,
    /// Memory that it has resident now.
    pub resident_bytes: u64,
}

impl Usage {
    /// Looks at a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self, BenchError> {
        let source = |source| BenchError::Process { pid, source };
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(source)?;
        parse(&text).ok_or_else(|| source(io::ErrorKind::InvalidData.into()))
    }
}

/// Reads proc(5)'s `stat`: the name in parentheses may contain anything, so fields count from its end.
fn parse(text: &str) -> Option<Usage> {
    let (_, fields) = text.rsplit_once(") ")?;
    // The first field here is the third of the manual page: utime is 14, stime 15, rss 24.
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
    })
}

/// Whether this process was started with a signal ignored.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// Reads proc(5)'s `status`: `SigIgn` has a bit for each signal, the lowest for signal 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    signal
        .checked_sub(1)
        .and_then(|bit| mask.checked_shr(bit.unsigned_abs()))
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_count_from_the_end_of_the_name() {
        let text = "42 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 9 1000000 3 99 0";
        let usage = parse(text).expect("readable");
        assert!((usage.cpu_seconds - 200.0 / rustix::param::clock_ticks_per_second() as f64).abs() < 1e-9);
        assert_eq!(usage.resident_bytes, 3 * rustix::param::page_size() as u64);
        assert_eq!(parse("42 (a) S 1"), None);
    }

    #[test]
    fn ignored_signals_are_bits_that_count_from_one() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001004\n";
        assert!(ignores(status, 3) && ignores(status, 13));
        assert!(!ignores(status, 1) && !ignores(status, 2) && !ignores(status, 0) && !ignores("", 3));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(Usage::of(std::process::id()).expect("it runs").resident_bytes > 0);
        assert!(matches!(Usage::of(u32::MAX), Err(BenchError::Process { .. })));
    }
}
