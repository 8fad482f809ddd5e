//! The `daemon` command.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use antiphon_proto::config::{AuthMethod, Authentication};
use antiphon_wire::names::DaemonName;
use clap::Args;
use thiserror::Error;

use crate::conf::{self, Keys, LoadError, Loaded, LogSettings, Settings};
use crate::runtime::{check_sockets, status_remarks};
use crate::{Daemon, LocalAddresses, StartError, StopHandle, log_output, transport};

/// Runs one daemon of a cluster until SIGTERM or SIGINT; at SIGHUP it reads its file again, for which daemons there are.
#[derive(Args, Clone, Debug, Default)]
pub struct DaemonArgs {
    /// Which daemon of the configuration to be [default: the first with an address of this machine]
    #[arg(short = 'n', value_name = "NAME")]
    name: Option<String>,
    /// Configuration file [default: ./spread.conf, else /etc/spread.conf, else one daemon for this machine]
    #[arg(short = 'c', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Say what the configuration means and what is odd about it, without starting
    #[arg(long)]
    check: bool,
    /// Directory for the Unix socket, which is named like the port; may be repeated [default: /tmp]
    #[arg(long = "unix-dir", value_name = "DIR")]
    unix_dirs: Vec<PathBuf>,
    /// Accepted for existing start scripts; there is no statistics file
    #[arg(short = 'l', value_name = "y|n", hide_short_help = true)]
    statistics: Option<String>,
    /// Test aid: a file naming the daemons to which links are cut, read every 20 ms
    #[arg(long = "test-links", value_name = "FILE", hide = true)]
    test_links: Option<PathBuf>,
}

/// Why the daemon did not start or did not go on.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot write the log {}: {error}; set EventLogFile to a file that can be written", path.display())]
    Log { path: PathBuf, error: io::Error },
    #[error("cannot write to the standard output: {0}")]
    Output(io::Error),
    #[error("the daemon stopped: {0}")]
    Run(io::Error),
}

impl Failure {
    fn log(settings: &LogSettings, error: io::Error) -> Self {
        Self::Log { path: settings.file.clone().unwrap_or_default(), error }
    }
}

/// Does what the arguments say. The exit code is 0 after a clean stop and 1 after an error, which is
/// written to the standard error.
#[must_use]
pub fn run(args: &DaemonArgs) -> ExitCode {
    let done = load(args)
        .map_err(Failure::Load)
        .and_then(|loaded| if args.check { check(&loaded) } else { serve(args, loaded) });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = match &failure {
                Failure::Load(LoadError::Rejected(report)) => format!("{report}\n"),
                other => format!("error: {other}\n"),
            };
            // Without a standard error there is nobody to tell, and the exit code still says it.
            let _ = io::stderr().write_all(message.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn load(args: &DaemonArgs) -> Result<Loaded, LoadError> {
    let mut loaded = conf::load(args.file.as_deref(), args.name.as_deref())?;
    if !args.unix_dirs.is_empty() {
        loaded.settings.unix_dirs = conf::distinct(&args.unix_dirs);
    }
    loaded.settings.test_links.clone_from(&args.test_links);
    Ok(loaded)
}

fn serve(args: &DaemonArgs, loaded: Loaded) -> Result<(), Failure> {
    let log = &loaded.settings.log;
    log_output::start(log).map_err(|error| Failure::log(log, error))?;
    warn(args, &loaded);
    let (origin, name) = (loaded.source.name, loaded.settings.here.name);
    let (clients, network) = (clients(&loaded.settings), network(&loaded.settings));
    let mut daemon = Daemon::bind(loaded.settings)?;
    if let Some(file) = args.file.clone().or_else(|| conf::search().map(Path::to_path_buf)) {
        let again = DaemonArgs { name: Some(name.to_string()), file: Some(file), ..args.clone() };
        daemon.reload_with(move || load(&again));
    }
    daemon.obey_signals().map_err(StartError::System)?;
    let addresses = daemon.local_addresses().map_err(StartError::System)?;
    tracing::info!("configured by {origin}; times are those for {network}");
    announce(name, &clients, &addresses);
    daemon.run(&StopHandle::new()).map_err(Failure::Run)
}

fn warn(args: &DaemonArgs, loaded: &Loaded) {
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{}", loaded.source.line(warning)));
    loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
    if args.statistics.as_deref().is_some_and(|value| value.starts_with('y')) {
        tracing::warn!("-l has no effect: there is no statistics file");
    }
}

/// The lines that a person looks for after starting a daemon.
fn announce(name: DaemonName, clients: &str, addresses: &LocalAddresses) {
    tracing::info!("daemons of the segment are reached {}", reach(addresses.segment));
    tracing::info!(
        "daemon {name} listens for clients on {clients}, for daemons on UDP {} and {}",
        addresses.data,
        addresses.control
    );
    tracing::info!("connect with {}", connect_hint(addresses));
}

/// Where clients are accepted, in words.
fn clients(settings: &Settings) -> String {
    let port = settings.here.port;
    let tcp = settings.client_interfaces.iter().map(|ip| {
        let also = if settings.takes_ipv4_at(*ip) { " (IPv4 too)" } else { "" };
        format!("{}{also}", SocketAddr::new(*ip, port))
    });
    let unix = settings.unix_sockets().map(|path| path.display().to_string());
    let all: Vec<String> = tcp.chain(unix).collect();
    all.join(", ")
}

/// How daemons of a segment reach each other, in words; `segment` is the address that they share, if any.
fn reach(segment: Option<SocketAddr>) -> String {
    match segment {
        None => "one by one".to_owned(),
        Some(group) if group.ip().is_multicast() => format!("by multicast to {group}"),
        Some(group) => format!("by broadcast to {group}"),
    }
}

/// For which network times are, in words.
fn network(settings: &Settings) -> &'static str {
    if settings.wide_area { "a wide area network (see WideAreaNetwork)" } else { "a local network" }
}

/// Who can read and make what daemons send to each other, in words.
fn protection(settings: &Settings) -> Result<String, StartError> {
    let Some(path) = &settings.key_file else { return Ok("not sealed (see KeyFile)".to_owned()) };
    let keys = Keys::read(path).map_err(StartError::Key)?;
    let exposed =
        if keys.are_exposed() { ", which other users of this machine can read or change" } else { "" };
    Ok(format!("sealed with the key {:02x}{exposed}", keys.sealing().id()))
}

/// What to give to a client: the port alone goes over the Unix socket in the customary place.
fn connect_hint(addresses: &LocalAddresses) -> String {
    let port = addresses.data.port();
    let directories: Vec<&Path> = addresses.unix.iter().filter_map(|path| path.parent()).collect();
    let is_customary = directories.iter().any(|directory| *directory == Path::new(conf::UNIX_DIRECTORY));
    let tcp = addresses.tcp.first().map(|tcp| {
        let host = if tcp.ip().is_unspecified() { addresses.data.ip() } else { tcp.ip() };
        format!("{port}@{host}")
    });
    let elsewhere = directories.first().filter(|_| !is_customary);
    let elsewhere = elsewhere.map(|directory| format!("{port} --unix-dir {}", directory.display()));
    let hints = [is_customary.then(|| port.to_string()), tcp, elsewhere];
    hints.into_iter().flatten().collect::<Vec<_>>().join(" or ")
}

/// Prints what the configuration means.
fn check(loaded: &Loaded) -> Result<(), Failure> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = describe(loaded, &protection(&loaded.settings)?, &mut text);
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads no more has seen enough; the exit code says what the check came to.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(Failure::Output)?,
    }
    let log = &loaded.settings.log;
    log_output::check(log).map_err(|error| Failure::log(log, error))?;
    Ok(check_sockets(&loaded.settings)?)
}

/// All that a check says.
fn describe(loaded: &Loaded, protection: &str, text: &mut String) -> fmt::Result {
    for warning in &loaded.warnings {
        writeln!(text, "{}", loaded.source.render(warning))?;
    }
    for note in loaded.notes.iter().chain(&status_remarks(&loaded.settings)) {
        writeln!(text, "warning: {note}")?;
    }
    summarise(loaded, text)?;
    writeln!(text, "datagrams between daemons are {protection}")
}

/// Which daemons there are, and what this one does.
fn summarise(loaded: &Loaded, text: &mut String) -> fmt::Result {
    let settings = &loaded.settings;
    let daemons = match settings.locations.len() {
        1 => "1 daemon".to_owned(),
        count => format!("{count} daemons"),
    };
    writeln!(text, "{}: {daemons}, hash {}", loaded.source.name, settings.config.cluster.hash)?;
    for (index, segment) in settings.segments.iter().enumerate() {
        let addresses: String = segment.addresses.iter().map(|address| format!(" {address}")).collect();
        writeln!(text, "segment{addresses} port {}", segment.port)?;
        for location in settings.locations.iter().filter(|location| location.segment == index) {
            let mark = if settings.here == *location { "  (this daemon)" } else { "" };
            writeln!(text, "  {} {}{mark}", location.name, location.address)?;
        }
    }
    summarise_mine(settings, text)
}

fn summarise_mine(settings: &Settings, text: &mut String) -> fmt::Result {
    let ring = &settings.config.ring;
    summarise_clients(settings, text)?;
    let segment = transport::shared_address(settings).address();
    writeln!(text, "daemons of the segment are reached {}", reach(segment))?;
    writeln!(
        text,
        "windows: {} of all, {} of one, {} after the token; token lost after {} ms; sessions may be {} messages behind",
        ring.windows.all,
        ring.windows.personal,
        ring.windows.after_token,
        ring.token_loss.as_millis(),
        settings.config.sessions.max_outbox_messages,
    )?;
    writeln!(text, "datagrams of {} bytes (see DatagramBytes)", settings.datagram_bytes())?;
    writeln!(text, "times are those for {}", network(settings))?;
    let waits = if settings.busy_poll { "polls" } else { "sleeps" };
    writeln!(text, "while there is nothing to do: {waits}")?;
    let commands = if settings.dangerous_monitor { "look and command" } else { "look" };
    writeln!(text, "monitor programs may {commands} (see DangerousMonitor)")
}

/// Who may connect, and how much the daemon has for them.
fn summarise_clients(settings: &Settings, text: &mut String) -> fmt::Result {
    let sessions = &settings.config.sessions;
    writeln!(text, "clients: {}", clients(settings))?;
    writeln!(
        text,
        "at most {} sessions, and {} MiB for what they have not read (see MaxSessions, OutboxLimit)",
        sessions.max_sessions,
        sessions.max_kept_bytes >> 20,
    )?;
    let Authentication { allowed, required, .. } = &sessions.authentication;
    let allowed = list(allowed, " or ").unwrap_or_else(|| "nothing, so none may connect".to_owned());
    let required =
        list(required, " and ").map_or_else(String::new, |required| format!(", required: {required}"));
    writeln!(text, "they authenticate by {allowed}{required} (see AllowedAuthMethods, RequiredAuthMethods)")
}

/// Names of methods in words, if there are any.
fn list(methods: &[AuthMethod], between: &str) -> Option<String> {
    let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    Some(names.join(between)).filter(|_| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;
    use crate::conf::{Source, load_source};

    #[test]
    fn the_summary_names_daemons_and_addresses() {
        let text = "Spread_Segment 127.0.0.255:4999 { a 127.0.0.1 b 127.0.0.2 }";
        let loaded = load_source(Source::new("x.conf", text.as_bytes()), Some("b")).expect("a good file");
        let mut summary = String::new();
        summarise(&loaded, &mut summary).expect("a string takes all");
        assert!(summary.starts_with("x.conf: 2 daemons, hash "), "{summary}");
        assert!(summary.contains("  b 127.0.0.2  (this daemon)\n"), "{summary}");
        assert!(summary.contains("\nclients: ") && summary.contains(", /tmp/4999\n"), "{summary}");
        assert!(summary.contains("\nat most 20000 sessions, and 1024 MiB for what they"), "{summary}");
        assert!(summary.contains("\nthey authenticate by NULL (see AllowedAuthMethods"), "{summary}");
        assert!(summary.contains("\ndatagrams of 1472 bytes (see DatagramBytes)\n"), "{summary}");
        assert!(summary.contains("reached one by one\n"), "{summary}");
        assert!(summary.contains("\ntimes are those for a local network\n"), "{summary}");
        assert_eq!(protection(&loaded.settings).expect("no key"), "not sealed (see KeyFile)");
        assert!(summary.contains("\nwhile there is nothing to do: sleeps\n"), "{summary}");
        assert!(summary.ends_with("\nmonitor programs may look (see DangerousMonitor)\n"), "{summary}");
    }

    #[test]
    fn the_summary_tells_what_the_file_says_of_clients_and_datagrams() {
        let text = "Spread_Segment 127.0.0.255:4999 { a 127.0.0.1 }\nDatagramBytes = 9000\nKeyFile = k\n\
            MaxSessions = 7\nOutboxLimit = 3\nRequiredAuthMethods = IP";
        let loaded = load_source(Source::new("x.conf", text.as_bytes()), None).expect("a good file");
        let mut summary = String::new();
        summarise(&loaded, &mut summary).expect("a string takes all");
        assert!(summary.contains("\nat most 7 sessions, and 3 MiB for what they have not read"), "{summary}");
        assert!(summary.contains("by nothing, so none may connect, required: IP (see"), "{summary}");
        assert!(summary.contains("\ndatagrams of 9000 bytes (see DatagramBytes)\n"), "{summary}");
    }

    #[test]
    fn what_is_listened_on_is_told_with_all_that_it_takes() {
        let text = "Spread_Segment 127.0.0.255:4999 { a 127.0.0.1 }";
        let loaded = load_source(Source::new("x.conf", text.as_bytes()), None).expect("a good file");
        let mut settings = loaded.settings;
        let (all, four) = (IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from([127, 0, 0, 1]));
        for (interfaces, expected) in [
            (vec![all], "[::]:4999 (IPv4 too), /tmp/4999"),
            (vec![four, all], "127.0.0.1:4999, [::]:4999, /tmp/4999"),
            (vec![Ipv6Addr::LOCALHOST.into()], "[::1]:4999, /tmp/4999"),
            (Vec::new(), "/tmp/4999"),
        ] {
            settings.client_interfaces = interfaces;
            assert_eq!(clients(&settings), expected);
        }
    }

    #[test]
    fn a_directory_that_is_named_twice_gets_one_socket() {
        let directory =
            std::env::temp_dir().join(format!("antiphon-{}-{}", std::process::id(), fastrand::u64(..)));
        std::fs::create_dir(&directory).expect("a new directory");
        let file = directory.join("spread.conf");
        std::fs::write(&file, "Spread_Segment 127.0.0.255:4999 { a 127.0.0.1 }").expect("writable");
        std::os::unix::fs::symlink(&directory, directory.join("link")).expect("a link");
        let unix_dirs = ["", "link", "missing", "missing/"].map(|name| directory.join(name)).to_vec();
        let args = DaemonArgs { file: Some(file), unix_dirs, ..DaemonArgs::default() };
        let found = load(&args).expect("a good file").settings.unix_dirs;
        assert_eq!(found, [directory.join(""), directory.join("missing")]);
        std::fs::remove_dir_all(&directory).expect("removable");
    }

    #[test]
    fn how_others_are_reached_goes_by_the_kind_of_address() {
        assert_eq!(reach(None), "one by one");
        assert_eq!(reach(Some(([239, 1, 2, 3], 4803).into())), "by multicast to 239.1.2.3:4803");
        assert_eq!(reach(Some(([10, 0, 0, 255], 4803).into())), "by broadcast to 10.0.0.255:4803");
    }

    #[test]
    fn the_hint_is_what_a_client_library_takes() {
        let mut addresses = LocalAddresses {
            data: ([10, 0, 0, 1], 4803).into(),
            control: ([10, 0, 0, 1], 4804).into(),
            segment: None,
            tcp: vec![([0, 0, 0, 0], 4803).into()],
            unix: vec!["/tmp/4803".into()],
        };
        assert_eq!(connect_hint(&addresses), "4803 or 4803@10.0.0.1");
        addresses.unix = vec!["/run/antiphon/4803".into()];
        assert_eq!(connect_hint(&addresses), "4803@10.0.0.1 or 4803 --unix-dir /run/antiphon");
        addresses.tcp.clear();
        assert_eq!(connect_hint(&addresses), "4803 --unix-dir /run/antiphon");
    }
}
