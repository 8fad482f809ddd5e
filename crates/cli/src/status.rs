//! `antiphon status`: where a daemon of this host stands.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use antiphon_daemon::conf::{DEFAULT_PORT, UNIX_DIRECTORY};
use serde_json::Value;

use crate::error::CliError;

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
    let path = args.unix_dir.join(format!("{}.status", args.port));
    let answer = ask(path)?;
    let text = match (args.json, args.metrics) {
        (true, _) => format!("{answer}\n"),
        (false, true) => metrics(&answer),
        (false, false) => text(&answer),
    };
    io::stdout().write_all(text.as_bytes()).map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn ask(path: PathBuf) -> Result<Value, CliError> {
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
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The status for a person. Writing to a string can not fail.
fn text(status: &Value) -> String {
    let mut text = String::new();
    let uptime = status["uptime_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
    let _ = writeln!(
        text,
        "daemon      {}, version {}, configuration {}, up {uptime:.1} s",
        word(&status["daemon"]),
        word(&status["version"]),
        word(&status["configuration"]),
    );
    let settled = if status["settled"] == true { "" } else { ", groups not known yet" };
    let _ = writeln!(text, "state       {}{settled}", word(&status["state"]));
    let _ = writeln!(text, "ring        {} of {}", word(&status["ring"]), list(&status["members"], ", "));
    let _ = writeln!(text, "configured  {}", list(&status["daemons"], ", "));
    let _ = writeln!(text, "why         {}", list(&status["reasons"], "; "));
    for view in items(&status["views"]) {
        let (at, members, reasons) = (word(&view["at"]), &view["members"], &view["reasons"]);
        let _ = writeln!(text, "view        {at} {}: {}", list(members, ", "), list(reasons, "; "));
    }
    for session in items(&status["behind"]) {
        let (name, messages) = (word(&session["session"]), &session["messages"]);
        let _ = writeln!(text, "behind      {name}: {messages} messages, {} bytes", session["bytes"]);
    }
    for (title, numbers) in [("now", &status["gauges"]), ("since start", &status["counters"])] {
        for (name, number) in numbers.as_object().into_iter().flatten() {
            let _ = writeln!(text, "{title:<11} {name} {number}");
        }
    }
    text
}

/// The numbers of the status for Prometheus.
fn metrics(status: &Value) -> String {
    let mut text = String::new();
    let daemon = word(&status["daemon"]);
    let kinds = [("gauge", "", &status["gauges"]), ("counter", "_total", &status["counters"])];
    for (kind, suffix, numbers) in kinds {
        for (name, number) in numbers.as_object().into_iter().flatten() {
            let name = format!("antiphon_{name}{suffix}");
            let _ = writeln!(text, "# TYPE {name} {kind}\n{name}{{daemon=\"{daemon}\"}} {number}");
        }
    }
    text
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn list(value: &Value, between: &str) -> String {
    items(value).iter().map(word).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_view_is_told_with_its_reasons() {
        let view =
            json!({"at": "10:00", "members": ["a", "b"], "reasons": ["no token from c for 208 ms", "x"]});
        let text = text(&json!({"daemon": "a", "views": [view]}));
        assert!(text.contains("view        10:00 a, b: no token from c for 208 ms; x\n"), "{text}");
    }

    #[test]
    fn numbers_have_a_type_and_name_their_daemon() {
        let status = json!({"daemon": "a", "gauges": {"groups": 2}, "counters": {"packets_sent": 5}});
        assert_eq!(
            metrics(&status),
            "# TYPE antiphon_groups gauge\nantiphon_groups{daemon=\"a\"} 2\n\
             # TYPE antiphon_packets_sent_total counter\nantiphon_packets_sent_total{daemon=\"a\"} 5\n"
        );
    }
}
