//! The directives of a configuration file (docs/client-protocol.md lists them): which there are, and
//! what each does to the options.

use std::ops::RangeInclusive;
use std::time::Duration;

use antiphon_proto::config::AuthMethod;
use antiphon_wire::ring::attempt::Commit;
use antiphon_wire::ring::piece;
use tracing::Level;

use super::diagnostic::{Diagnostic, Span};
use super::log_settings;
use super::options::Options;
use super::syntax::{DirectiveTree, Spanned};
use super::timeouts::Timeouts;
use super::windows::{self, GivenWindows};
use super::{IpPreference, PortReuse, SEAL_BYTES, UNIX_DIRECTORY};

/// How a directive is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// `KEY`
    Alone,
    /// `KEY = value`
    Value,
    /// `KEY` or `KEY = value`
    OptionalValue,
    /// `KEY = { [!] value … }`
    Flags,
    /// `KEY = { number … }`
    Matrix,
}

const TABLE: [(&str, Shape); 42] = [
    ("AcceleratedRing", Shape::Value),
    ("AcceleratedWindow", Shape::Value),
    ("AccessControlPolicy", Shape::Value),
    ("ActiveIPVersion", Shape::Value),
    ("AliveTimeout", Shape::Value),
    ("AllowedAuthMethods", Shape::Value),
    ("BusyPoll", Shape::Value),
    ("DaemonGroup", Shape::Value),
    ("DaemonUser", Shape::Value),
    ("DangerousMonitor", Shape::Value),
    ("DatagramBytes", Shape::Value),
    ("DebugFlags", Shape::Flags),
    ("DebugInitialSequence", Shape::Alone),
    ("EventLogFile", Shape::Value),
    ("EventPreciseTimeStamp", Shape::Alone),
    ("EventPriority", Shape::Value),
    ("EventTimeStamp", Shape::OptionalValue),
    ("ExcludeSegAddrsFromHash", Shape::Value),
    ("FormTimeout", Shape::Value),
    ("GatherTimeout", Shape::Value),
    ("HurryTimeout", Shape::Value),
    ("IgnoreMulticastJoinErrors", Shape::Value),
    ("JoinTimeout", Shape::Value),
    ("KeyFile", Shape::Value),
    ("LinkProtocol", Shape::Value),
    ("LookupTimeout", Shape::Value),
    ("MaxSessionMessages", Shape::Value),
    ("MaxSessions", Shape::Value),
    ("OutboxLimit", Shape::Value),
    ("PersonalWindow", Shape::Value),
    ("RepTimeout", Shape::Value),
    ("RequiredAuthMethods", Shape::Value),
    ("RouteMatrix", Shape::Matrix),
    ("RuntimeDir", Shape::Value),
    ("SegTimeout", Shape::Value),
    ("SocketPortReuse", Shape::Value),
    ("TokenTimeout", Shape::Value),
    ("UnixSocketDirectory", Shape::Value),
    ("VirtualID", Shape::Value),
    ("WideAreaNetwork", Shape::Value),
    ("Window", Shape::Value),
    ("WindowLimit", Shape::Value),
];

/// What `DatagramBytes` may be: from what every host of IPv4 takes, to what one datagram can carry.
const DATAGRAM_BYTES: RangeInclusive<u32> = 508..=65_000;
/// The most that `OutboxLimit` may be: a terabyte.
const MAX_OUTBOX_MIB: u32 = 1 << 20;
/// The most that `MaxSessions` may be, beyond any limit of open files.
const MAX_SESSIONS: u32 = 1_000_000;

/// Directives that may be said several times, each for one more.
const ADDS_UP: [&str; 1] = ["UnixSocketDirectory"];

/// Looks a directive up by its exact name.
pub(crate) fn find(word: &str) -> Option<(&'static str, Shape)> {
    TABLE.into_iter().find(|(name, _)| *name == word)
}

/// The directive that was probably meant by a misspelt one.
pub(crate) fn closest(word: &str) -> Option<&'static str> {
    let names = TABLE.into_iter().map(|(name, _)| name).chain(["Spread_Segment"]);
    let near = names.map(|name| (distance(&name.to_lowercase(), &word.to_lowercase()), name)).min()?;
    (near.0 <= 2).then_some(near.1)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            *cell = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Takes directives one after the other, and collects remarks.
#[derive(Default)]
pub(crate) struct Directives {
    options: Options,
    remarks: Vec<Diagnostic>,
    seen: Vec<&'static str>,
    timeouts: Timeouts,
    wide_area: Option<bool>,
    windows: GivenWindows,
    datagram_bytes: Option<Spanned<u32>>,
    allowed: Option<Vec<AuthMethod>>,
    required: Option<Vec<AuthMethod>>,
    timestamp: bool,
    precise: Option<Span>,
    /// Where `DebugFlags` stands, if it chooses parts.
    debug_flags: Option<Span>,
}

impl Directives {
    /// Which addresses a looked-up name may give.
    pub(crate) fn ip_preference(&self) -> IpPreference {
        self.options.ip_preference
    }

    /// Handles one directive.
    pub(crate) fn apply(&mut self, directive: &DirectiveTree) {
        let key = &directive.key;
        if self.seen.contains(&key.value) && !ADDS_UP.contains(&key.value) {
            let message = format!("{} is given more than once", key.value);
            self.remarks.push(Diagnostic::warning(
                key.span.clone(),
                message,
                "this one replaces the earlier",
            ));
        }
        self.seen.push(key.value);
        if let Err(error) = self.take(directive) {
            self.remarks.push(error);
        }
    }

    fn take(&mut self, directive: &DirectiveTree) -> Result<(), Diagnostic> {
        let none = Spanned::new(String::new(), directive.key.span.clone());
        let value = directive.values.first().map_or(&none, |value| &value.text);
        let key = directive.key.value;
        let options = &mut self.options;
        match key {
            "Window" => self.windows.all = Some(number(value, 1..=windows::MAX)?),
            "WindowLimit" => self.windows.limit = Some(number(value, 1..=windows::MAX)?),
            "PersonalWindow" => self.windows.personal = Some(number(value, 1..=windows::MAX)?),
            "AcceleratedWindow" => self.windows.accelerated = Some(number(value, 0..=windows::MAX)?),
            "AcceleratedRing" => self.windows.is_accelerated = Some(boolean(value)?),
            "MaxSessionMessages" => {
                options.sessions.max_outbox_messages = number(value, 1..=u32::MAX)?.value as usize;
            }
            "OutboxLimit" => {
                options.sessions.max_kept_bytes = (number(value, 1..=MAX_OUTBOX_MIB)?.value as usize) << 20;
            }
            "MaxSessions" => options.sessions.max_sessions = number(value, 1..=MAX_SESSIONS)?.value as usize,
            "WideAreaNetwork" => self.wide_area = Some(boolean(value)?),
            "BusyPoll" => options.busy_poll = boolean(value)?,
            "DangerousMonitor" => options.dangerous_monitor = boolean(value)?,
            "KeyFile" => options.key_file = Some((&value.value).into()),
            "DatagramBytes" => {
                let bytes = number(value, DATAGRAM_BYTES)?;
                options.datagram_bytes = Some(bytes.value as usize);
                self.datagram_bytes = Some(bytes);
            }
            "EventPriority" => options.log.level = log_settings::priority(value)?,
            "EventLogFile" => options.log.file = Some(log_settings::file(&value.value).into()),
            "EventTimeStamp" => {
                self.timestamp = true;
                options.log.timestamp = Some(log_settings::timestamp(value)?);
            }
            "EventPreciseTimeStamp" => self.precise = Some(directive.key.span.clone()),
            "DebugFlags" => self.debug_flags(directive),
            "SocketPortReuse" => options.port_reuse = port_reuse(value)?,
            "ExcludeSegAddrsFromHash" => options.hash_segments = !boolean(value)?,
            "IgnoreMulticastJoinErrors" => options.ignore_join_errors = boolean(value)?,
            "ActiveIPVersion" => options.ip_preference = ip_version(value)?,
            "UnixSocketDirectory" => options.unix_dirs.push((&value.value).into()),
            "AllowedAuthMethods" => self.allowed = Some(self.methods(value)),
            "RequiredAuthMethods" => self.required = Some(self.methods(value)),
            "AccessControlPolicy" => policy(value)?,
            "VirtualID" => return Err(misplaced_virtual_id(directive)),
            _ if Timeouts::is_timeout(key) => {
                let ms = number(value, 1..=u32::MAX)?.value;
                self.timeouts.set(key, &directive.key.span, Duration::from_millis(ms.into()));
            }
            _ => self.without_effect(directive)?,
        }
        Ok(())
    }

    fn debug_flags(&mut self, directive: &DirectiveTree) {
        let (debug, remarks) = log_settings::debug_flags(&directive.values);
        self.debug_flags = (!debug.is_empty()).then(|| directive.key.span.clone());
        self.options.log.debug = Some(debug);
        self.remarks.extend(remarks);
    }

    fn methods(&mut self, value: &Spanned<String>) -> Vec<AuthMethod> {
        let mut methods = Vec::new();
        for word in value.value.split_whitespace() {
            match AuthMethod::from_name(word.as_bytes()) {
                Some(method) => methods.push(method),
                None => self.remarks.push(Diagnostic::warning(
                    value.span.clone(),
                    format!("authentication method {word} is not available"),
                    format!(
                        "it is left out; there are {}",
                        AuthMethod::ALL.map(AuthMethod::name).join(" and ")
                    ),
                )),
            }
        }
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    /// Directives that are understood, checked, and answered with a warning.
    fn without_effect(&mut self, directive: &DirectiveTree) -> Result<(), Diagnostic> {
        let key = directive.key.value;
        let instead = match key {
            "RuntimeDir" => "the daemon stays in the directory and the root that it was started in",
            "DaemonUser" | "DaemonGroup" => "the daemon keeps the user and group that it was started with",
            "DebugInitialSequence" => "sequence numbers have 64 bits and always start at 1",
            "LinkProtocol" | "RouteMatrix" => "daemons always send to each other directly over UDP",
            _ => return Err(forgotten(&directive.key)),
        };
        let message = format!("{key} has no effect");
        self.remarks.push(Diagnostic::warning(directive.key.span.clone(), message, instead));
        Ok(())
    }

    /// What the directives come to for a cluster of so many daemons, and the remarks on them. `is_wide` is whether the
    /// daemons are far apart if no directive says it.
    pub(crate) fn finish(mut self, daemons: usize, is_wide: bool) -> (Options, Vec<Diagnostic>) {
        self.remarks.extend(self.windows.apply(&mut self.options.ring));
        // A file that says its times has thought of the network.
        let is_wide = is_wide && self.timeouts.is_empty();
        self.options.settle_wide_area(self.wide_area.unwrap_or(is_wide));
        let timeouts = std::mem::take(&mut self.timeouts);
        self.remarks.extend(timeouts.apply(&mut self.options));
        self.authentication();
        self.log();
        self.remarks.extend(self.datagrams_too_small(daemons));
        if self.options.unix_dirs.is_empty() {
            self.options.unix_dirs.push(UNIX_DIRECTORY.into());
        }
        (self.options, self.remarks)
    }

    fn log(&mut self) {
        match self.precise.take() {
            Some(_) if self.timestamp => self.options.log.precise = true,
            Some(span) => self.remarks.push(Diagnostic::warning(
                span,
                "EventPreciseTimeStamp has no effect",
                "it needs EventTimeStamp beside it",
            )),
            None => {}
        }
        if let Some(span) = self.debug_flags.take().filter(|_| self.options.log.level < Level::DEBUG) {
            self.remarks.push(Diagnostic::warning(
                span,
                "DebugFlags has no effect",
                "it chooses among the lines of EventPriority = DEBUG",
            ));
        }
    }

    /// Datagrams must be able to carry the longest step of membership among so many daemons; those of the
    /// default size can for as many as there may be.
    fn datagrams_too_small(&self, daemons: usize) -> Option<Diagnostic> {
        let bytes = self.datagram_bytes.as_ref()?;
        let least = least_datagram_bytes(daemons, self.options.key_file.is_some());
        (least > bytes.value as usize).then(|| {
            let message = format!("DatagramBytes is too small for {daemons} daemons to form a ring");
            Diagnostic::error(bytes.span.clone(), message, format!("expected at least {least}"))
        })
    }

    /// Naming any method switches the free entry off.
    fn authentication(&mut self) {
        let authentication = &mut self.options.sessions.authentication;
        if self.allowed.is_some() || self.required.is_some() {
            authentication.allowed = self.allowed.take().unwrap_or_default();
            authentication.required = self.required.take().unwrap_or_default();
        }
    }
}

/// For what is in the table and has no arm: nobody is to believe that it has an effect.
fn forgotten(key: &Spanned<&'static str>) -> Diagnostic {
    let message = format!("{} is known, but nothing is done with it", key.value);
    Diagnostic::error(key.span.clone(), message, "leave it out, and report this fault of the daemon")
}

fn misplaced_virtual_id(directive: &DirectiveTree) -> Diagnostic {
    let span = directive.key.span.clone();
    Diagnostic::error(span, "VirtualID is out of place", "expected it after the address of a daemon")
}

fn wrong(value: &Spanned<String>, what: &str) -> Diagnostic {
    Diagnostic::error(
        value.span.clone(),
        format!("wrong value `{}`", value.value),
        format!("expected {what}"),
    )
}

fn number(value: &Spanned<String>, range: RangeInclusive<u32>) -> Result<Spanned<u32>, Diagnostic> {
    match value.value.parse() {
        Ok(number) if range.contains(&number) => Ok(Spanned::new(number, value.span.clone())),
        _ => Err(wrong(value, &format!("a number from {} to {}", range.start(), range.end()))),
    }
}

fn boolean(value: &Spanned<String>) -> Result<bool, Diagnostic> {
    match value.value.to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err(wrong(value, "true, yes, false or no")),
    }
}

fn port_reuse(value: &Spanned<String>) -> Result<PortReuse, Diagnostic> {
    match value.value.to_ascii_lowercase().as_str() {
        "on" => Ok(PortReuse::On),
        "off" => Ok(PortReuse::Off),
        "auto" => Ok(PortReuse::Auto),
        _ => Err(wrong(value, "on, off or auto")),
    }
}

fn ip_version(value: &Spanned<String>) -> Result<IpPreference, Diagnostic> {
    match value.value.as_str() {
        "IPv4" => Ok(IpPreference::V4),
        "IPv6" => Ok(IpPreference::V6),
        _ => Err(wrong(value, "IPv4 or IPv6")),
    }
}

fn policy(value: &Spanned<String>) -> Result<(), Diagnostic> {
    if value.value == "PERMIT" { Ok(()) } else { Err(wrong(value, "PERMIT, the only policy")) }
}

/// The least `DatagramBytes` with which so many daemons can form a ring.
pub(super) fn least_datagram_bytes(daemons: usize, is_sealed: bool) -> usize {
    piece::smallest_pieces(Commit::longest_bytes(daemons)) + if is_sealed { SEAL_BYTES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_of_the_table_is_taken() {
        let message = |name| forgotten(&Spanned::new(name, 0..1)).message;
        for (name, _) in TABLE {
            let mut directives = Directives::default();
            directives.apply(&DirectiveTree { key: Spanned::new(name, 0..1), values: Vec::new() });
            assert!(directives.remarks.iter().all(|remark| remark.message != message(name)), "{name}");
        }
        let mut directives = Directives::default();
        directives.apply(&DirectiveTree { key: Spanned::new("Bananas", 0..1), values: Vec::new() });
        assert_eq!(directives.remarks[0].message, message("Bananas"), "one without an arm is an error");
    }
}
