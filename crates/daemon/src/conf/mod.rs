//! From a configuration file to everything that a daemon needs to know (client protocol §9, §10).
//!
//! ```text
//! bytes ─ lex ─▶ tokens ─ parse ─▶ tree ─ directives ─▶ settings ─ places ─▶ daemons, segments ─ identity ─▶ me
//! ```
//!
//! Every known directive is either put into effect or answered with a warning that says what
//! happens instead; what is wrong is an error with file, line, column and what was expected.

mod access;
mod diagnostic;
mod directives;
mod identity;
mod lex;
mod log_settings;
mod parse;
mod places;
mod syntax;
mod timeouts;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use antiphon_proto::config::{AuthMethod, Config};
pub use antiphon_wire::client::flags::{DEFAULT_PORT, UNIX_DIRECTORY};
use antiphon_wire::ids::DaemonId;
use antiphon_wire::names::DaemonName;
use thiserror::Error;

pub use diagnostic::{Diagnostic, Rejected, Severity, Source, Span};
pub(crate) use identity::is_local;
pub use log_settings::LogSettings;

use directives::Directives;

/// Everything that one daemon needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What the core needs.
    pub config: Config,
    /// Where each daemon is reached; a [`DaemonId`] is an index.
    pub places: Vec<Place>,
    /// The segments in the order of the file.
    pub segments: Vec<Segment>,
    /// Addresses on which clients are accepted over TCP; none when empty.
    pub client_interfaces: Vec<IpAddr>,
    /// Directories in each of which a Unix socket named like the port is made.
    pub unix_dirs: Vec<PathBuf>,
    /// Who may share a port.
    pub port_reuse: PortReuse,
    /// Whether a multicast group that can not be joined leaves unicast instead of an error.
    pub ignore_join_errors: bool,
    /// Which addresses a looked-up name may give.
    pub ip_preference: IpPreference,
    /// Whether the addresses of segments are part of what daemons must agree on.
    pub hash_segments: bool,
    /// Whether the daemon keeps looking for work in place of sleeping until there is some.
    pub busy_poll: bool,
    /// What is logged, and where.
    pub log: LogSettings,
    /// A file with the names of daemons to which the links are cut; an aid for tests.
    pub test_links: Option<PathBuf>,
}

/// Where a daemon is reached by the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its name.
    pub name: DaemonName,
    /// Its address.
    pub address: IpAddr,
    /// Its data port; its control port is the next one. Clients connect to the same number.
    pub port: u16,
    /// Index of its segment.
    pub segment: usize,
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
    /// The file that they came from; None for the built-in configuration.
    pub source: Option<Source>,
    /// What the file says that has less effect than it seems.
    pub warnings: Vec<Diagnostic>,
    /// Remarks about the access list, one line each.
    pub notes: Vec<String>,
}

impl Loaded {
    /// The name of the file that the settings came from, or what stands for it.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.source.as_ref().map_or("the built-in configuration", |source| &source.name)
    }
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file that was named, or found, can not be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Rejected(Box<Rejected>),
    /// The name that was given is not configured.
    #[error("the configuration has no daemon named {name}; it has {known}")]
    UnknownDaemon {
        /// The name.
        name: String,
        /// The names there are, with commas.
        known: String,
    },
    /// No configured address belongs to this machine.
    #[error("none of the configured daemons ({known}) has an address of this machine; say which one with -n")]
    NotHere {
        /// The names there are, with commas.
        known: String,
    },
}

/// Files that are tried in turn when none is named.
pub const SEARCH_PATH: [&str; 2] = ["spread.conf", "/etc/spread.conf"];

/// Reads the named file, or the first of [`SEARCH_PATH`] that exists, or takes the built-in
/// configuration: one daemon, `localhost`, reachable from this machine only. `me` names the daemon
/// to be; without it, it is the first whose address this machine has.
///
/// # Errors
/// See [`LoadError`].
pub fn load(file: Option<&Path>, me: Option<&str>) -> Result<Loaded, LoadError> {
    let found = SEARCH_PATH.iter().map(Path::new).find(|path| is_there(path));
    let Some(path) = file.or(found) else {
        let mut settings = Settings::embedded();
        settings.config.me = identity::choose(&settings, me)?;
        return Ok(Loaded { settings, source: None, warnings: Vec::new(), notes: Vec::new() });
    };
    let bytes =
        std::fs::read(path).map_err(|error| LoadError::Unreadable { path: path.to_path_buf(), error })?;
    load_source(Source::new(path.display().to_string(), &bytes), me)
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
    let reject = |source: &Source, diagnostics| {
        LoadError::Rejected(Box::new(Rejected { source: source.clone(), diagnostics }))
    };
    let tree = parse::parse(&source.text).map_err(|error| reject(&source, vec![error]))?;
    let mut settings = Settings::empty();
    let mut directives = Directives::default();
    for directive in &tree.directives {
        directives.apply(directive, &mut settings);
    }
    directives.finish(&mut settings);
    let mut remarks = std::mem::take(&mut directives.remarks);
    remarks.extend(places::settle(&tree, source.text.len(), &mut settings));
    remarks.extend(directives.fit(settings.places.len()));
    if remarks.iter().any(|remark| remark.severity == Severity::Error) {
        return Err(reject(&source, remarks));
    }
    settings.config.cluster = identity::cluster_hash(&settings);
    settings.config.me = identity::choose(&settings, me)?;
    remarks.extend(places::my_interfaces(&tree, &mut settings));
    if settings.unix_dirs.is_empty() {
        settings.unix_dirs.push(UNIX_DIRECTORY.into());
    }
    let notes = access_list(&mut settings);
    Ok(Loaded { settings, source: Some(source), warnings: remarks, notes })
}

/// Reads the access list if a method wants it, and says what is odd about it.
fn access_list(settings: &mut Settings) -> Vec<String> {
    let authentication = &mut settings.config.sessions.authentication;
    let mut notes = Vec::new();
    if authentication.allowed.is_empty() {
        notes.push("no authentication method is allowed, so every client will be refused".to_owned());
    }
    if authentication.allowed.iter().chain(&authentication.required).any(|method| *method == AuthMethod::Ip) {
        (authentication.access, notes) = access::load(notes);
    }
    notes
}

impl Settings {
    /// The built-in configuration: one daemon named `localhost` on 127.0.0.1, port 4803. It has no
    /// access control, so it takes clients of this machine only.
    #[must_use]
    pub fn embedded() -> Self {
        let mut settings = Self::empty();
        settings.segments.push(Segment { addresses: Vec::new(), port: DEFAULT_PORT });
        settings.client_interfaces = vec![Ipv4Addr::LOCALHOST.into()];
        settings.unix_dirs = vec![UNIX_DIRECTORY.into()];
        if let Ok(name) = DaemonName::new(b"localhost") {
            let address = Ipv4Addr::LOCALHOST;
            settings.config.daemons.push(antiphon_proto::config::Daemon { name, address });
            let place = Place { name, address: address.into(), port: DEFAULT_PORT, segment: 0 };
            settings.places.push(place);
        }
        settings.config.cluster = identity::cluster_hash(&settings);
        settings
    }

    fn empty() -> Self {
        Self {
            config: Config::new(Vec::new(), DaemonId(0), 0),
            places: Vec::new(),
            segments: Vec::new(),
            client_interfaces: Vec::new(),
            unix_dirs: Vec::new(),
            port_reuse: PortReuse::default(),
            ignore_join_errors: false,
            ip_preference: IpPreference::default(),
            hash_segments: true,
            busy_poll: false,
            log: LogSettings::default(),
            test_links: None,
        }
    }

    /// Where this daemon is.
    #[must_use]
    pub fn my_place(&self) -> Option<&Place> {
        self.places.get(self.config.me.index())
    }

    /// The daemon of that name.
    #[must_use]
    pub fn daemon_named(&self, name: &str) -> Option<DaemonId> {
        let index = self.places.iter().position(|place| place.name.as_bytes() == name.as_bytes())?;
        u16::try_from(index).ok().map(DaemonId)
    }
}

#[cfg(test)]
mod tests;
