//! Where log lines go and how they look.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use jiff::Zoned;
use rustix::fs::OFlags;
use rustix::io::{Errno, ioctl_fionbio};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::conf::{LogSettings, has_directory};

/// What decides what is written instead of the settings, if it is set.
const VARIABLE: &str = "RUST_LOG";

/// Starts logging for this process, by the settings or [`VARIABLE`].
///
/// # Errors
/// When the log file cannot be opened.
pub(crate) fn start(settings: &LogSettings) -> io::Result<()> {
    let variable = std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
    let (filter, wrong) = filter(settings, variable.as_deref());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Stamp::new(settings))
        // A line that cannot be written would be reported to the standard error, which panics if that fails too.
        .log_internal_errors(false);
    let started = match &settings.file {
        Some(path) => {
            let file = open(OpenOptions::new().create(true), path)?;
            subscriber.with_ansi(false).with_writer(Mutex::new(file)).try_init()
        }
        None => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            subscriber.with_ansi(colours).with_writer(io::stderr).try_init()
        }
    };
    // A program that embeds the daemon may have started logging already; then its choice stands.
    drop(started);
    if let Some(error) = wrong {
        tracing::warn!(
            "{VARIABLE} is left out: {error}; expected such as info,antiphon_daemon::membership=debug"
        );
    }
    Ok(())
}

/// Whether the log file could be opened, as far as that can be told without making it, and without opening a pipe, whose
/// reader would see it end.
pub(crate) fn check(settings: &LogSettings) -> io::Result<()> {
    let Some(path) = &settings.file else { return Ok(()) };
    match path.metadata() {
        Ok(file) if file.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        // Opening it makes it, if the name is one that a file may have.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => {
            has_directory(path)
        }
        Err(error) => Err(error),
    }
}

/// Opens the log, without waiting for somebody who reads it where it is a pipe; later lines may wait.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = options.append(true).custom_flags(nonblocking).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NXIO) => io::Error::other("it is a pipe that nobody reads, or no file"),
        _ => error,
    })?;
    ioctl_fionbio(&file, false)?;
    Ok(file)
}

/// What is written, and what is wrong with the variable if it is set.
fn filter(settings: &LogSettings, variable: Option<&str>) -> (EnvFilter, Option<ParseError>) {
    let configured = || EnvFilter::new(directives(settings));
    match variable.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (configured(), Some(error)),
        None => (configured(), None),
    }
}

/// The settings in the notation of the filter.
fn directives(settings: &LogSettings) -> String {
    match (&settings.debug, settings.level) {
        (Some(targets), Level::DEBUG) => {
            let details: String = targets.iter().map(|target| format!(",{target}=debug")).collect();
            format!("info{details}")
        }
        (_, level) => level.as_str().to_lowercase(),
    }
}

/// The time before each line.
struct Stamp {
    /// strftime format for local time; None means UTC as RFC 3339 has it.
    format: Option<String>,
}

impl Stamp {
    fn new(settings: &LogSettings) -> Self {
        let precise = if settings.precise { "%.6f" } else { "" };
        Self { format: settings.timestamp.as_ref().map(|format| format!("{format}{precise}")) }
    }
}

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = Zoned::now();
        let Some(format) = &self.format else { return write!(writer, "{:.3}", now.timestamp()) };
        // An unknown conversion in the format is no reason to lose the line.
        match jiff::fmt::strtime::format(format, &now) {
            Ok(text) => writer.write_str(&text),
            Err(_) => write!(writer, "{:.3}", now.timestamp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(format: Option<&str>, precise: bool) -> String {
        let settings =
            LogSettings { timestamp: format.map(str::to_owned), precise, ..LogSettings::default() };
        let mut text = String::new();
        Stamp::new(&settings).format_time(&mut Writer::new(&mut text)).expect("a string takes it");
        text
    }

    #[test]
    fn the_time_is_written_as_asked() {
        assert!(stamp(None, false).ends_with('Z'));
        assert_eq!(stamp(Some("%y"), false).len(), 2);
        assert_eq!(stamp(Some("[%H:%M:%S]"), true).len(), "[00:00:00].000000".len());
        assert!(stamp(Some("%!"), false).ends_with('Z'), "a wrong format falls back");
    }

    #[test]
    fn a_wrong_variable_is_told_and_leaves_the_settings_in_effect() {
        let settings = LogSettings { level: Level::WARN, ..LogSettings::default() };
        let filter = |variable| {
            let (filter, wrong) = filter(&settings, variable);
            (filter.to_string(), wrong.is_some())
        };
        assert_eq!(filter(None), ("warn".to_owned(), false));
        assert_eq!(filter(Some("debug")), ("debug".to_owned(), false));
        assert_eq!(filter(Some("antiphon_daemon=loud")), ("warn".to_owned(), true));
    }

    #[test]
    fn flags_limit_debug_lines_to_parts() {
        let mut settings = LogSettings { level: Level::DEBUG, ..LogSettings::default() };
        assert_eq!(directives(&settings), "debug");
        settings.debug = Some(vec!["antiphon_proto::groups"]);
        assert_eq!(directives(&settings), "info,antiphon_proto::groups=debug");
        settings.level = Level::WARN;
        assert_eq!(directives(&settings), "warn");
    }
}
