//! From a configuration file to everything that a daemon needs to know.
//!
//! ```text
//! bytes ─ lex ─▶ tokens ─ parse ─▶ tree ┬ directives ─▶ options ────────────┬─▶ settings
//!                                       └ locations ─▶ topology ─ identity ─┘
//! ```
//!
//! Every known directive is either put into effect or answered with a warning that says what
//! happens instead; what is wrong is an error with file, line, column and what was expected.

mod access;
mod change;
mod diagnostic;
mod directives;
mod identity;
mod keys;
mod lex;
mod locations;
mod log_settings;
mod options;
mod parse;
mod syntax;
mod timeouts;
mod windows;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use antiphon_proto::config::{AuthMethod, Cluster, Config, Daemon};
use antiphon_proto::io::Channel;
pub use antiphon_wire::client::flags::{DEFAULT_PORT, UNIX_DIRECTORY};
use antiphon_wire::ids::DaemonId;
use antiphon_wire::names::DaemonName;
use thiserror::Error;

pub(crate) use change::Change;
pub use diagnostic::{Diagnostic, Rejected, Severity, Source, Span};
pub(crate) use identity::OwnAddresses;
pub(crate) use keys::{Key, Keys, SEAL_BYTES};
pub use locations::DAEMONS_MAX;
pub use log_settings::LogSettings;

use crate::error::limit_hint;
use directives::Directives;
use locations::{Configured, Topology};
use options::Options;

/// Everything that one daemon needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What the core needs.
    pub config: Config,
    /// Where each daemon is reached; a [`DaemonId`] is an index.
    pub locations: Vec<Location>,
    /// Where this daemon is.
    pub here: Location,
    /// The segments in the order of the file.
    pub segments: Vec<Segment>,
    /// Addresses on which clients are accepted over TCP; none when empty. See also
    /// [`Settings::takes_ipv4_at`].
    pub client_interfaces: Vec<IpAddr>,
    /// Directories in each of which a Unix socket named like the port is made.
    pub unix_dirs: Vec<PathBuf>,
    /// Who may share a port.
    pub port_reuse: PortReuse,
    /// Whether a multicast group that cannot be joined leaves unicast instead of an error.
    pub ignore_join_errors: bool,
    /// Whether the daemon keeps looking for work in place of sleeping until there is some.
    pub busy_poll: bool,
    /// Whether monitor programs may cut links, set windows and stop the daemon, and not only look.
    pub dangerous_monitor: bool,
    /// The file with the keys that datagrams between daemons are sealed with, if they are. It is read by who seals:
    /// others who use the configuration may not be allowed to.
    pub key_file: Option<PathBuf>,
    /// Whether its times are those for daemons that are far apart.
    pub wide_area: bool,
    /// What is logged, and where.
    pub log: LogSettings,
    /// A file with the names of daemons to which the links are cut; an aid for tests.
    pub test_links: Option<PathBuf>,
}

/// Where a daemon is reached by the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// Its name.
    pub name: DaemonName,
    /// Its address.
    pub address: IpAddr,
    /// Its data port; its control port is the next one. Clients connect to the same number.
    pub port: u16,
    /// Index of its segment.
    pub segment: usize,
    /// By what number monitors of 5.x know it: the configured one, or the hash of its name.
    pub virtual_id: u32,
}

impl Location {
    /// The address of one of its sockets.
    #[must_use]
    pub fn socket(&self, channel: Channel) -> SocketAddr {
        let port = match channel {
            Channel::Data => self.port,
            Channel::Control => self.port.saturating_add(1),
        };
        SocketAddr::new(self.address, port)
    }
}

/// Daemons that are reached together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Multicast, broadcast or unicast addresses; the first carries what is for all.
    pub addresses: Vec<IpAddr>,
    /// The port of its daemons.
    pub port: u16,
}

/// When sockets are opened with `SO_REUSEADDR` (`SocketPortReuse`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PortReuse {
    /// Always, also for UDP: another process may then take datagrams away.
    On,
    /// Never: after a crash, TCP ports may be refused for a minute.
    Off,
    /// For TCP, where the system still refuses two listeners on one port.
    #[default]
    Auto,
}

/// Which addresses a name may resolve to (`ActiveIPVersion`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpPreference {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// Settings with the remarks that led to no error.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What they came from.
    pub source: Source,
    /// What the file says that has less effect than it seems.
    pub warnings: Vec<Diagnostic>,
    /// Remarks about the access list, one line each.
    pub notes: Vec<String>,
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file that was named, or found, cannot be read.
    #[error("cannot read the configuration file {}: {error}{hint}", path.display(), hint = file_hint(error))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Rejected(Box<Rejected>),
    /// The name that was given is not configured.
    #[error("the configuration has no daemon named {name}; it has {}", list(known))]
    UnknownDaemon {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<DaemonName>,
    },
    /// The system does not tell which addresses this machine has.
    #[error("cannot see which addresses this machine has: {0}{hint}; or say which daemon it is with -n", hint = limit_hint(.0))]
    Addresses(io::Error),
    /// No configured address belongs to this machine.
    #[error(
        "none of the configured daemons ({}) has an address of this machine; say which one with -n",
        list(known)
    )]
    NotHere {
        /// The names there are.
        known: Vec<DaemonName>,
    },
}

impl LoadError {
    /// The same in one line, for a log.
    pub(crate) fn in_one_line(&self) -> String {
        match self {
            Self::Rejected(rejected) => rejected.in_one_line(),
            _ => self.to_string(),
        }
    }
}

/// What to do about a file that cannot be read, if that is known.
fn file_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; name one that exists with -c, or leave -c out for ./spread.conf, else /etc/spread.conf, else one daemon \
             for this machine"
        }
        _ => limit_hint(error),
    }
}

fn list(names: &[DaemonName]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// Files that are tried in turn when none is named.
pub const SEARCH_PATH: [&str; 2] = ["spread.conf", "/etc/spread.conf"];

/// No configuration and no access list is longer.
const FILE_MAX_BYTES: u64 = 1 << 22;
/// The configuration that is taken when there is no file. It has no access control, so it takes clients of
/// this machine only. Some know it by its address of IPv6 first.
const BUILT_IN: &str = "Spread_Segment 127.0.0.1:4803 { localhost 127.0.0.1 { C D 127.0.0.1 C ::1 } }";

/// Reads the named file, or the first of [`SEARCH_PATH`] that exists, or takes the built-in
/// configuration: one daemon, `localhost`, reachable from this machine only. `me` names the daemon
/// to be, and is cut as names in the file are; without it, it is the first whose address this machine has.
///
/// # Errors
/// See [`LoadError`].
pub fn load(file: Option<&Path>, me: Option<&str>) -> Result<Loaded, LoadError> {
    let found = search();
    let Some(path) = file.or(found) else { return load_built_in(me, locations::can_bind) };
    let bytes = read(path, FILE_MAX_BYTES)
        .map_err(|error| LoadError::Unreadable { path: path.to_path_buf(), error })?;
    load_source(Source::new(path.display().to_string(), &bytes), me)
}

/// Reads a file, unless it is longer than any that can be meant: something else may have no end.
fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it is longer than {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// The first of [`SEARCH_PATH`] that exists.
pub(crate) fn search() -> Option<&'static Path> {
    SEARCH_PATH.iter().map(Path::new).find(|path| is_there(path))
}

/// Takes the built-in configuration without the interfaces that this machine does not have, as one without
/// IPv6.
fn load_built_in(me: Option<&str>, has: fn(IpAddr) -> bool) -> Result<Loaded, LoadError> {
    let mut loaded = load_source(built_in(), me)?;
    loaded.settings.client_interfaces.retain(|interface| has(*interface));
    Ok(loaded)
}

pub(crate) fn built_in() -> Source {
    Source::new("the built-in configuration", BUILT_IN.as_bytes())
}

/// Whether there is a file of that name, or a link to one: a link that leads nowhere is not passed over in
/// silence.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// As [`load`], from the contents of a file.
///
/// # Errors
/// See [`LoadError`].
pub fn load_source(source: Source, me: Option<&str>) -> Result<Loaded, LoadError> {
    let rejected = |source, diagnostics| LoadError::Rejected(Box::new(Rejected { source, diagnostics }));
    let tree = match parse::parse(&source.text) {
        Ok(tree) => tree,
        Err(error) => return Err(rejected(source, vec![error])),
    };
    let mut directives = Directives::default();
    tree.directives.iter().for_each(|directive| directives.apply(directive));
    let (topology, of_locations) = Topology::settle(&tree, source.text.len(), directives.ip_preference());
    let (mut options, mut remarks) = directives.finish(tree.daemons().count(), topology.is_wide());
    remarks.extend(of_locations);
    if remarks.iter().any(|remark| remark.severity == Severity::Error) {
        return Err(rejected(source, remarks));
    }
    let notes = access_list(&mut options);
    let (me, here) = identity::choose(&topology, me.map(locations::cut))?;
    let (client_interfaces, of_interfaces) = locations::interfaces_of(&tree, me, &here);
    remarks.extend(of_interfaces);
    let settings = Settings::assemble(options, topology, me, here, client_interfaces);
    Ok(Loaded { settings, source, warnings: remarks, notes })
}

/// Reads the access list if a method wants it, and says what is odd about it.
fn access_list(options: &mut Options) -> Vec<String> {
    let authentication = &mut options.sessions.authentication;
    let mut notes = Vec::new();
    if authentication.allowed.is_empty() {
        notes.push("no authentication method is allowed, so every client will be refused".to_owned());
    }
    if authentication.allowed.iter().chain(&authentication.required).any(|method| *method == AuthMethod::Ip) {
        let (rules, remarks) = access::load();
        authentication.access = rules;
        notes.extend(remarks);
    }
    notes
}

/// The directories without those that were named before, in other words or by a link. What is not there is taken by
/// its name.
pub(crate) fn distinct(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let is_new = |dir: &&PathBuf| found.insert(dir.canonicalize().unwrap_or_else(|_| (*dir).clone()));
    dirs.iter().filter(is_new).cloned().collect()
}

/// Whether there is a directory for a file. Who may write there is not asked, as the daemon may be another user.
pub(crate) fn has_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.unwrap_or(Path::new(".")).metadata()?.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// UDP payload of a full frame of Ethernet, from an address of that kind.
fn ethernet_payload_bytes(address: IpAddr) -> usize {
    const MTU: usize = 1500;
    const UDP_HEADER: usize = 8;
    const IPV4_HEADER: usize = 20;
    const IPV6_HEADER: usize = 40;
    MTU - UDP_HEADER - if address.is_ipv6() { IPV6_HEADER } else { IPV4_HEADER }
}

impl Settings {
    /// Whether clients of IPv4 are accepted at this one of the interfaces too: that of all addresses of IPv6
    /// stands for all of IPv4 as well, unless interfaces of IPv4 stand beside it.
    #[must_use]
    pub fn takes_ipv4_at(&self, interface: IpAddr) -> bool {
        interface == Ipv6Addr::UNSPECIFIED && !self.client_interfaces.iter().any(IpAddr::is_ipv4)
    }

    /// Where the Unix sockets of clients are to lie.
    pub(crate) fn unix_sockets(&self) -> impl Iterator<Item = PathBuf> {
        self.unix_dirs.iter().map(|dir| dir.join(self.here.port.to_string()))
    }

    /// UDP payload of a packet, with its seal if it has one (`DatagramBytes`).
    pub(crate) fn datagram_bytes(&self) -> usize {
        self.config.ring.datagram_bytes + self.key_file.as_ref().map_or(0, |_| SEAL_BYTES)
    }

    fn assemble(
        options: Options,
        topology: Topology,
        me: DaemonId,
        here: Location,
        client_interfaces: Vec<IpAddr>,
    ) -> Self {
        let hash = identity::cluster_hash(&topology, options.hash_segments, options.wide_area);
        let Topology { segments, daemons: configured } = topology;
        let known = |Configured { location, shown_address }: &Configured| Daemon {
            name: location.name,
            address: *shown_address,
        };
        let daemons = configured.iter().map(known).collect();
        let Options { mut ring, membership, sessions, .. } = options;
        ring.datagram_bytes = options.datagram_bytes.unwrap_or_else(|| ethernet_payload_bytes(here.address));
        if options.key_file.is_some() {
            ring.datagram_bytes -= SEAL_BYTES;
        }
        Self {
            config: Config { ring, membership, sessions, ..Config::new(Cluster { daemons, hash }, me) },
            locations: configured.into_iter().map(|daemon| daemon.location).collect(),
            here,
            segments,
            client_interfaces,
            unix_dirs: distinct(&options.unix_dirs),
            port_reuse: options.port_reuse,
            ignore_join_errors: options.ignore_join_errors,
            busy_poll: options.busy_poll,
            dangerous_monitor: options.dangerous_monitor,
            key_file: options.key_file,
            wide_area: options.wide_area,
            log: options.log,
            test_links: None,
        }
    }
}

#[cfg(test)]
mod tests;
