//! What a configuration file says about the log, as levels and targets.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use tracing::Level;

use super::diagnostic::Diagnostic;
use super::syntax::{Spanned, ValueTree};
use crate::log::target;

/// Where log lines go and which are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// Least urgent level that is written (`EventPriority`).
    pub level: Level,
    /// Parts whose DEBUG lines are written (`DebugFlags`); None means all of them. They matter only
    /// when `level` is DEBUG.
    pub debug: Option<Vec<&'static str>>,
    /// File to append to (`EventLogFile`); None means the standard error.
    pub file: Option<PathBuf>,
    /// strftime format of the time before each line in local time (`EventTimeStamp`); None means UTC
    /// as RFC 3339 has it.
    pub timestamp: Option<String>,
    /// Whether microseconds follow the time (`EventPreciseTimeStamp`).
    pub precise: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: Level::INFO, debug: None, file: None, timestamp: None, precise: false }
    }
}

/// The level that an `EventPriority` stands for.
pub(crate) fn priority(value: &Spanned<String>) -> Result<Level, Diagnostic> {
    match value.value.as_str() {
        "pDEBUG" | "DEBUG" => Ok(Level::DEBUG),
        "INFO" => Ok(Level::INFO),
        "WARNING" => Ok(Level::WARN),
        "ERROR" | "CRITICAL" | "FATAL" => Ok(Level::ERROR),
        other => Err(Diagnostic::error(
            value.span.clone(),
            format!("unknown priority `{other}`"),
            "expected pDEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL",
        )),
    }
}

/// The name of the log file, with `%h` and `%H` replaced by the name of this host.
pub(crate) fn file(template: &str) -> String {
    if !template.contains("%h") && !template.contains("%H") {
        return template.to_owned();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    template.replace("%h", &host).replace("%H", &host)
}

/// The format of `EventTimeStamp`, which has a default when it stands alone. What C knows is not all known here,
/// so that a format which cannot be used is a warning.
pub(crate) fn timestamp(value: &Spanned<String>) -> Result<String, Diagnostic> {
    let format = if value.value.is_empty() { "%m/%d/%y %H:%M:%S" } else { &value.value };
    let any_time = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match strtime::format(format, &any_time) {
        Ok(_) => Ok(format.to_owned()),
        Err(error) => Err(Diagnostic::warning(
            value.span.clone(),
            format!("the format of EventTimeStamp cannot be used: {error}"),
            "expected one of strftime, such as \"[%H:%M:%S]\"; lines begin with the time in UTC",
        )),
    }
}

/// The log targets that `DebugFlags` stand for, without repetition.
pub(crate) fn debug_flags(flags: &[ValueTree]) -> (Vec<&'static str>, Vec<Diagnostic>) {
    let mut targets: Vec<&'static str> = Vec::new();
    let mut remarks = Vec::new();
    for ValueTree { text, negated } in flags {
        match targets_of(&text.value) {
            Some([]) if !negated && !is_always_written(&text.value) => remarks.push(Diagnostic::warning(
                text.span.clone(),
                format!("debug flag `{}` has no effect", text.value),
                "that part has no lines of its own",
            )),
            Some(named) => {
                targets.retain(|target| !named.contains(target));
                if !negated {
                    targets.extend(named);
                }
            }
            None => remarks.push(Diagnostic::warning(
                text.span.clone(),
                format!("unknown debug flag `{}`", text.value),
                "it is left out",
            )),
        }
    }
    (targets, remarks)
}

/// The targets of a flag; an empty list for a part of which there are no DEBUG lines here.
fn targets_of(flag: &str) -> Option<&'static [&'static str]> {
    Some(match flag {
        "ALL" | "DEBUG" => &["antiphon_daemon"],
        "DATA_LINK" | "NETWORK" => &["antiphon_daemon::transport"],
        "MEMBERSHIP" => &[target::MEMBERSHIP],
        "GROUPS" => &[target::GROUPS],
        "SESSION" => &[target::SESSIONS, "antiphon_daemon::runtime"],
        "EVENTS" | "STATUS" => &["antiphon_daemon::runtime"],
        "PROTOCOL" | "FLOW_CONTROL" | "SECURITY" | "CONFIGURATION" => &[],
        "PRINT" | "EXIT" | "MEMORY" | "SKIPLIST" | "ACM" | "NONE" => &[],
        _ => return None,
    })
}

/// Flags for what is written in any case, which many files have, or for nothing.
fn is_always_written(flag: &str) -> bool {
    matches!(flag, "PRINT" | "EXIT" | "NONE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(text: &str, negated: bool) -> ValueTree {
        ValueTree { text: Spanned::new(text.to_owned(), 0..text.len()), negated }
    }

    #[test]
    fn debug_flags_become_targets_and_unknown_ones_warn() {
        let (targets, remarks) =
            debug_flags(&[flag("PRINT", false), flag("GROUPS", false), flag("X", false)]);
        assert_eq!(targets, [target::GROUPS]);
        assert_eq!(remarks.len(), 1);
        let (targets, remarks) =
            debug_flags(&[flag("PROTOCOL", false), flag("MEMORY", true), flag("EXIT", false)]);
        assert_eq!((targets.len(), remarks.len()), (0, 1), "a part without lines");
        let (targets, _) = debug_flags(&[flag("GROUPS", false), flag("GROUPS", true)]);
        assert!(targets.is_empty());
    }

    #[test]
    fn the_host_name_goes_into_the_file_name() {
        assert_eq!(file("plain.log"), "plain.log");
        assert!(!file("%h.log").contains('%'));
    }
}
