//! `antiphon status`: where a daemon of this host stands.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon::dial;
use antiphon_daemon::conf::{DEFAULT_PORT, UNIX_DIRECTORY};
use antiphon_daemon::status::{Installed, NextFile, SlowReader, StatusReport, socket_path};

use crate::error::CliError;
use crate::output::{show, show_json};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a daemon of this host for its status: the ring, why the last configurations came about, who
/// is behind, counters.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port of the daemon.
    #[arg(short, long, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Directory of the daemon's Unix socket.
    #[arg(long, value_name = "DIRECTORY", default_value = UNIX_DIRECTORY)]
    unix_dir: PathBuf,
    /// Print one JSON object.
    #[arg(short, long, conflicts_with = "metrics")]
    json: bool,
    /// Print counters and gauges in the text format that Prometheus reads.
    #[arg(long)]
    metrics: bool,
}

/// Prints the status.
pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let report = ask(socket_path(&args.unix_dir, args.port))?;
    match (args.json, args.metrics) {
        (true, _) => show_json(&report)?,
        (false, true) => show(&metrics(&report))?,
        (false, false) => show(&text(&report))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(path: PathBuf) -> Result<StatusReport, CliError> {
    match read(&path) {
        Ok(answer) => serde_json::from_str(&answer).map_err(|source| CliError::StatusCut { path, source }),
        Err(source) => Err(match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                CliError::StatusLate { path, patience: PATIENCE }
            }
            _ => CliError::Status { path, source },
        }),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut stream = dial::unix(path, Instant::now().checked_add(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The status for a person. Writing to a string cannot fail.
fn text(report: &StatusReport) -> String {
    let mut text = String::new();
    let StatusReport { daemon, version, file_hash, state, ring, .. } = report;
    let uptime = report.uptime_ms as f64 / 1000.0;
    let _ = writeln!(text, "daemon         {daemon}, version {version}, file {file_hash}, up {uptime:.1} s");
    let settled = if report.settled { "" } else { ", groups not known yet" };
    let _ = writeln!(text, "state          {state}{settled}");
    let _ = writeln!(text, "ring           {ring} of {}", report.members.join(", "));
    let _ = writeln!(text, "configured     {}", report.daemons.join(", "));
    if let Some(NextFile { file_hash, lacking }) = &report.next {
        let lacking = if lacking.is_empty() { "all".to_owned() } else { lacking.join(", ") };
        let _ = match file_hash == &report.file_hash {
            true => writeln!(text, "differs        the file of {lacking}"),
            false => writeln!(text, "next           file {file_hash}, once read by {lacking}"),
        };
    }
    let _ = writeln!(text, "why            {}", report.reasons.join("; "));
    for Installed { at, members, reasons, .. } in &report.configurations {
        let _ = writeln!(text, "configuration  {at} {}: {}", members.join(", "), reasons.join("; "));
    }
    for SlowReader { session, messages, bytes } in &report.behind {
        let _ = writeln!(text, "behind         {session}: {messages} messages, {bytes} bytes");
    }
    for (title, numbers) in [("now", &report.gauges), ("since start", &report.counters)] {
        for (name, number) in numbers {
            let _ = writeln!(text, "{title:<14} {name} {number}");
        }
    }
    text
}

/// The numbers of the status for Prometheus.
fn metrics(report: &StatusReport) -> String {
    let mut text = String::new();
    // What a value of a label must not have as it is.
    let daemon = report.daemon.replace('\\', r"\\").replace('"', r#"\""#);
    for (kind, suffix, numbers) in [("gauge", "", &report.gauges), ("counter", "_total", &report.counters)] {
        for (name, number) in numbers {
            let name = format!("antiphon_{name}{suffix}");
            let _ = writeln!(text, "# TYPE {name} {kind}\n{name}{{daemon=\"{daemon}\"}} {number}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_daemon_that_accepts_nobody_is_waited_for_no_longer_than_others() {
        let path = std::env::temp_dir().join(format!("antiphon-{}-status", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket");
        rustix::net::listen(&listener, 0).expect("a queue of one");
        let _in_the_way = UnixStream::connect(&path).expect("the first fits");
        let (tell, told) = std::sync::mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || drop(tell.send(ask(asked))));
        let answer = told.recv_timeout(4 * PATIENCE).expect("an answer in time");
        assert!(matches!(answer, Err(CliError::StatusLate { .. })), "{answer:?}");
        std::fs::remove_file(path).expect("removable");
    }

    #[test]
    fn a_configuration_is_told_with_its_reasons() {
        let list = |items: &[&str]| items.iter().map(ToString::to_string).collect();
        let (members, reasons) = (list(&["a", "b"]), list(&["no token from c for 208 ms", "x"]));
        let installed = Installed { at: "10:00".to_owned(), members, reasons, ..Installed::default() };
        let text = text(&StatusReport { configurations: vec![installed], ..StatusReport::default() });
        assert!(text.contains("configuration  10:00 a, b: no token from c for 208 ms; x\n"), "{text}");
    }

    #[test]
    fn numbers_have_a_type_and_name_their_daemon() {
        let report = StatusReport {
            daemon: r#"a\b""#.to_owned(),
            gauges: [("groups".to_owned(), 2)].into(),
            counters: [("packets_sent".to_owned(), 5)].into(),
            ..StatusReport::default()
        };
        let label = r#"{daemon="a\\b\""}"#;
        assert_eq!(
            metrics(&report),
            format!(
                "# TYPE antiphon_groups gauge\nantiphon_groups{label} 2\n\
                 # TYPE antiphon_packets_sent_total counter\nantiphon_packets_sent_total{label} 5\n"
            )
        );
    }

    #[test]
    fn what_another_version_tells_is_read_as_far_as_it_is_known() {
        let report: StatusReport = serde_json::from_str(r#"{"daemon": "a", "mood": "good"}"#).expect("JSON");
        assert_eq!((&*report.daemon, report.settled), ("a", false));
    }
}
