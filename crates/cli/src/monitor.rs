//! `antiphon monitor`: all daemons of a cluster at once, from one of their hosts.
//!
//! It speaks to daemons as monitors of 5.x do, whose names for them are unambiguous also for several daemons of one
//! address (docs/client-protocol.md, Monitors).

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use antiphon_daemon::conf::{self, LoadError, Location, Settings};
use antiphon_wire::monitor::{
    self, Command, Components, GroupsState, Place, REPORT_BYTES, Report, Request, RingState,
};
use serde::Serialize;

use crate::error::CliError;
use crate::output::{code, show, show_json, show_line};

/// How often daemons that have not answered are asked.
const ATTEMPTS: u32 = 4;
/// How long answers are waited for each time.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long a daemon may take to do as it was told. One that ends hands over what its clients have sent, in a wide area
/// network for 5 s, and daemons that are parted notice it in that time.
const OBEYING: Duration = Duration::from_secs(8);
/// Daemons forget a partition after a minute.
const REMINDER: Duration = Duration::from_secs(20);

/// Asks all daemons of the configuration where they stand, or parts or ends them, which they allow with
/// DangerousMonitor = yes. Runs on the host of one of them, to which they answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file [default: as a daemon's]
    #[arg(short = 'c', value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    /// Which daemon of the configuration this host has [default: the first with an address of this machine]
    #[arg(short = 'n', value_name = "NAME", global = true)]
    name: Option<String>,
    #[command(subcommand)]
    command: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say where each daemon stands; this is what happens without a command. The exit code is 0 if all are in one ring.
    Status {
        /// Print an array of JSON objects.
        #[arg(short, long)]
        json: bool,
    },
    /// Part the daemons for as long as this runs, and up to a minute longer if it is ended by a signal.
    Part {
        /// Daemons that are to hear each other, with commas; those that are not named are a part of their own.
        #[arg(required = true, value_name = "NAME,NAME…")]
        parts: Vec<String>,
        /// Make all links whole again after so long, in place of running on.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
        seconds: Option<u32>,
    },
    /// Make the links that a monitor has cut whole again.
    Heal,
    /// Ask all daemons of the file to read their own again; which daemons there are changes once all of a ring have read
    /// the same. Run it on the host of one that runs. Those that are left out are not asked: end them first. The exit code
    /// is 0 if any answers.
    Reload,
    /// End daemons; they say goodbye to the others.
    End {
        /// Which.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// A monitor in the place of this host's daemon.
struct Monitor {
    settings: Settings,
    socket: UdpSocket,
}

/// What is known of a daemon.
#[derive(Debug, Serialize)]
struct Row {
    daemon: String,
    address: SocketAddr,
    report: Option<Answer>,
}

/// A report, in words.
#[derive(Debug, Serialize)]
struct Answer {
    state: &'static str,
    settled: bool,
    leader: String,
    members: usize,
    sessions: usize,
    groups: usize,
    window: u32,
    packets_sent: u64,
    packets_retransmitted: u64,
    messages_delivered: u64,
    rings_installed: u64,
    uptime_s: u64,
}

/// Does what the arguments say.
pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let loaded = conf::load(args.file.as_deref(), args.name.as_deref())?;
    let monitor = Monitor::new(loaded.settings).map_err(CliError::Monitor)?;
    match &args.command {
        None => monitor.status(false),
        Some(What::Status { json }) => monitor.status(*json),
        Some(What::Part { parts, seconds }) => {
            monitor.part(parts, seconds.map(|seconds| Duration::from_secs(seconds.into())))
        }
        Some(What::Heal) => monitor.heal(),
        Some(What::Reload) => monitor.reload(),
        Some(What::End { names }) => monitor.end(names),
    }
}

impl Monitor {
    fn new(settings: Settings) -> io::Result<Self> {
        let socket = UdpSocket::bind((settings.here.address, 0))?;
        Ok(Self { settings, socket })
    }

    fn status(&self, json: bool) -> Result<ExitCode, CliError> {
        let rows = self.ask(&self.settings.locations)?;
        if json {
            show_json(&rows)?;
        } else {
            show(&table(&rows))?;
        }
        Ok(code(are_one_ring(&rows)))
    }

    fn part(&self, parts: &[String], duration: Option<Duration>) -> Result<ExitCode, CliError> {
        let mut components = vec![0; self.settings.locations.len()];
        for (part, number) in parts.iter().zip(1..) {
            for name in part.split(',') {
                self.set(&mut components, name, number)?;
            }
        }
        if components.iter().all(|part| components.first() == Some(part)) {
            let names: Vec<String> =
                self.settings.locations.iter().map(|each| each.name.to_string()).collect();
            return Err(CliError::NothingToPart { names: names.join(", ") });
        }
        let begun = Instant::now();
        let mut all_told = self.tell(&self.settings.locations, &components)?;
        let limit = duration.map_or(OBEYING, |duration| duration.min(OBEYING));
        if let Err(error) = self.await_parts(&components, begun + limit) {
            self.tell(&self.settings.locations, &[])?;
            return Err(error);
        }
        show_line("parted; `antiphon monitor heal` ends it")?;
        loop {
            let left = duration.map_or(REMINDER, |duration| duration.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                let all_healed = self.tell(&self.settings.locations, &[])?;
                return Ok(code(all_told && all_healed));
            }
            thread::sleep(left.min(REMINDER));
            all_told = self.tell(&self.settings.locations, &components)?;
        }
    }

    /// Waits until no daemon that answers is in one ring with others of another part.
    fn await_parts(&self, components: &[i16], limit: Instant) -> Result<(), CliError> {
        loop {
            let rows = self.ask(&self.settings.locations)?;
            if rows.iter().all(|row| row.report.is_none()) {
                return Err(CliError::NoAnswer { names: names(&rows) });
            }
            let whole = not_parted(&rows, components);
            if whole.is_empty() {
                return Ok(());
            }
            if Instant::now() >= limit {
                return Err(CliError::NotParted { names: names(whole) });
            }
            thread::sleep(PATIENCE);
        }
    }

    fn heal(&self) -> Result<ExitCode, CliError> {
        let all_told = self.tell(&self.settings.locations, &[])?;
        let any =
            self.say_who_was_asked("to make all links whole, which those with DangerousMonitor = yes do")?;
        Ok(code(all_told && any))
    }

    fn reload(&self) -> Result<ExitCode, CliError> {
        self.tell_all(&self.settings.locations, Command::Reload)?;
        let any = self.say_who_was_asked(
            "to read their files again; `antiphon status` at each says whom it waits for, its log what it refuses",
        )?;
        Ok(code(any))
    }

    /// Says which daemons answer, all of which were asked to do something; returns whether any does.
    fn say_who_was_asked(&self, what: &str) -> Result<bool, CliError> {
        let rows = self.ask(&self.settings.locations)?;
        let (told, silent): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.report.is_some());
        if !told.is_empty() {
            show_line(&format!("asked {} {what}", names(told.iter().copied())))?;
        }
        if !silent.is_empty() {
            show_line(&format!("no answer from {}", names(silent)))?;
        }
        Ok(!told.is_empty())
    }

    /// Ends daemons, and looks whether they have ended.
    fn end(&self, names: &[String]) -> Result<ExitCode, CliError> {
        let mut components = vec![0; self.settings.locations.len()];
        names.iter().try_for_each(|name| self.set(&mut components, name, monitor::END))?;
        // The others are told nothing, or they would forget a partition.
        let is_meant = |(_, component): &(&Location, &i16)| **component == monitor::END;
        let meant = self.settings.locations.iter().zip(&components).filter(is_meant);
        let meant: Vec<Location> = meant.map(|(location, _)| location.clone()).collect();
        let before = self.ask(&meant)?;
        let (live, silent): (Vec<&Row>, Vec<&Row>) = before.iter().partition(|row| row.report.is_some());
        if !self.tell(&meant, &components)? {
            return Ok(ExitCode::FAILURE);
        }
        self.await_end(&meant)?;
        for row in &live {
            show_line(&format!("{} has ended", row.daemon))?;
        }
        for row in &silent {
            show_line(&format!("{} does not answer", row.daemon))?;
        }
        Ok(code(silent.is_empty()))
    }

    /// Waits until no daemon answers.
    fn await_end(&self, daemons: &[Location]) -> Result<(), CliError> {
        let begun = Instant::now();
        loop {
            let rows = self.ask(daemons)?;
            let Some(lives) = rows.iter().find(|row| row.report.is_some()) else { return Ok(()) };
            if begun.elapsed() > OBEYING {
                return Err(CliError::DaemonLives { name: lives.daemon.clone() });
            }
            thread::sleep(PATIENCE);
        }
    }

    /// Sets the component of the daemon of that name, which is said once.
    fn set(&self, components: &mut [i16], name: &str, component: i16) -> Result<(), CliError> {
        let mut daemons = self.settings.locations.iter().zip(components);
        let named = daemons.find(|(location, _)| location.name.as_bytes() == name.as_bytes());
        let Some((_, present)) = named else {
            let known = self.settings.locations.iter().map(|location| location.name).collect();
            return Err(LoadError::UnknownDaemon { name: name.to_owned(), known }.into());
        };
        match std::mem::replace(present, component) {
            0 => Ok(()),
            _ => Err(CliError::DaemonTwice { name: name.to_owned() }),
        }
    }

    /// Tells daemons of which component each is.
    fn tell(&self, daemons: &[Location], components: &[i16]) -> Result<bool, CliError> {
        self.tell_all(daemons, Command::Part(Components::new(components)))
    }

    /// Tells daemons to do something; twice, as a datagram may be lost. Returns whether all could be sent to,
    /// and says which could not.
    fn tell_all(&self, daemons: &[Location], command: Command) -> Result<bool, CliError> {
        let request = self.request(command).map_err(CliError::Monitor)?;
        let mut all_told = true;
        for location in daemons {
            let sent = self.send(location, &request).and_then(|()| self.send(location, &request));
            if let Err(error) = sent {
                show_line(&format!("{} cannot be told: {error}", location.name))?;
                all_told = false;
            }
        }
        Ok(all_told)
    }

    /// What daemons say of themselves.
    fn ask(&self, locations: &[Location]) -> Result<Vec<Row>, CliError> {
        let reports = self.reports(locations).map_err(CliError::Monitor)?;
        Ok(locations.iter().zip(reports).map(|(location, report)| self.row(location, report)).collect())
    }

    /// Asks daemons, some times at most, until all have answered.
    fn reports(&self, locations: &[Location]) -> io::Result<Vec<Option<Report>>> {
        let request = self.request(Command::Report)?;
        let mut reports: Vec<Option<Report>> = vec![None; locations.len()];
        for _ in 0..ATTEMPTS {
            for (location, _) in locations.iter().zip(&reports).filter(|(_, report)| report.is_none()) {
                // A host that refuses is one that does not answer.
                let _ = self.send(location, &request);
            }
            let end = Instant::now() + PATIENCE;
            while reports.iter().any(Option::is_none)
                && let Some(report) = self.receive(end)?
            {
                let from = locations.iter().position(|location| location.virtual_id == report.daemon);
                if let Some(slot) = from.and_then(|at| reports.get_mut(at)) {
                    *slot = Some(report);
                }
            }
        }
        Ok(reports)
    }

    /// The next report before `end`. What is none is passed over.
    fn receive(&self, end: Instant) -> io::Result<Option<Report>> {
        let mut datagram = [0; REPORT_BYTES + 1];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            // An error tells of a daemon that is not there, or that it was enough.
            let Ok(length) = self.socket.recv(&mut datagram) else { continue };
            if let Some(report) = datagram.get(..length).and_then(|datagram| Report::decode(datagram).ok()) {
                return Ok(Some(report));
            }
        }
    }

    fn request(&self, command: Command) -> io::Result<Vec<u8>> {
        let from = Place::VirtualId(self.settings.here.virtual_id);
        let report_port = self.socket.local_addr()?.port();
        Ok(Request { from, report_port, command }.encode())
    }

    fn send(&self, to: &Location, request: &[u8]) -> io::Result<()> {
        self.socket.send_to(request, (to.address, to.port)).map(drop)
    }

    fn row(&self, location: &Location, report: Option<Report>) -> Row {
        let name = |number| {
            let mut daemons = self.settings.locations.iter();
            let named = daemons.find(|daemon| daemon.virtual_id == number);
            named.map_or_else(|| "?".to_owned(), |daemon| daemon.name.to_string())
        };
        Row {
            daemon: location.name.to_string(),
            address: SocketAddr::new(location.address, location.port),
            report: report.map(|report| Answer {
                state: state(report.ring),
                settled: report.groups_state == GroupsState::Operational,
                leader: name(report.leader),
                members: report.members,
                sessions: report.sessions,
                groups: report.groups,
                window: report.window,
                packets_sent: report.packets_sent,
                packets_retransmitted: report.packets_retransmitted,
                messages_delivered: report.messages_delivered,
                rings_installed: report.rings_installed,
                uptime_s: report.uptime_s,
            }),
        }
    }
}

/// Daemons that are in one ring with others of another part, as those are that have the same leader.
fn not_parted<'r>(rows: &'r [Row], components: &[i16]) -> Vec<&'r Row> {
    let leader = |row: &'r Row| row.report.as_ref().map(|report| report.leader.as_str());
    let is_whole = |(row, part): &(&'r Row, &i16)| {
        let mut others = rows.iter().zip(components).filter(|(_, other)| other != part);
        leader(row).is_some() && others.any(|(other, _)| leader(other) == leader(row))
    };
    rows.iter().zip(components).filter(is_whole).map(|(row, _)| row).collect()
}

fn names<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    rows.into_iter().map(|row| row.daemon.as_str()).collect::<Vec<_>>().join(", ")
}

fn state(ring: RingState) -> &'static str {
    match ring {
        RingState::Operational => "operational",
        RingState::Gather => "gather",
        RingState::Form => "accepted",
        RingState::Recovery => "recover",
    }
}

/// Whether all have answered, and say so of the same ring.
fn are_one_ring(rows: &[Row]) -> bool {
    let first = rows.first().and_then(|row| row.report.as_ref());
    let is_whole = |row: &Row| {
        row.report.as_ref().zip(first).is_some_and(|(report, first)| {
            report.state == state(RingState::Operational)
                && report.members == rows.len()
                && report.leader == first.leader
        })
    };
    rows.iter().all(is_whole)
}

/// A line for each daemon. Writing to a string cannot fail.
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<20} {:<12} {:<20} {:>7} {:>8} {:>8} {:>7} {:>12} {:>10} {:>6} {:>9}",
        "daemon",
        "state",
        "leader",
        "members",
        "sessions",
        "groups",
        "window",
        "packets",
        "again",
        "rings",
        "up s"
    );
    for Row { daemon, address, report } in rows {
        let Some(report) = report else {
            let _ = writeln!(text, "{daemon:<20} no answer from {address}");
            continue;
        };
        let Answer { state, leader, members, sessions, groups, window, .. } = report;
        let Answer { packets_sent, packets_retransmitted, rings_installed, uptime_s, .. } = report;
        let _ = writeln!(
            text,
            "{daemon:<20} {state:<12} {leader:<20} {members:>7} {sessions:>8} {groups:>8} {window:>7} \
             {packets_sent:>12} {packets_retransmitted:>10} {rings_installed:>6} {uptime_s:>9}",
        );
    }
    text
}
