//! What to put on which daemons.

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon::{Connection, Envelope, ServiceLevel};
use antiphon_wire::client::flags::MAX_BODY_AND_GROUPS_BYTES;
use antiphon_wire::names::NAME_FIELD_BYTES;

use crate::address::Reach;
use crate::error::BenchError;
use crate::stamp::STAMP_BYTES;

/// Clients of one daemon, and messages a second of one sender, above which a load is a slip of the keyboard.
pub(crate) const MAX_CLIENTS: usize = 20_000;
const MAX_RATE: f64 = 1e9;
/// Groups that a session may be in.
const MAX_GROUPS: usize = 65_536;

/// A load, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the daemons are, as [`Reach::connector`] reads it.
    pub daemons: Vec<String>,
    /// The rest of where they are.
    pub reach: Reach,
    /// Processes whose use of processor and memory is reported; may be empty.
    pub daemon_pids: Vec<u32>,
    /// First part of the names of the groups, which nobody else may use.
    pub group: String,
    /// Groups that every receiver joins; the messages of all senders are spread over all of them.
    pub groups: usize,
    /// Length of every message.
    pub body_bytes: usize,
    /// Level of every message, fifo or stronger.
    pub service: ServiceLevel,
    /// Senders on each daemon that has senders.
    pub senders: usize,
    /// Receivers on each daemon that has receivers.
    pub receivers: usize,
    /// Whether all daemons have senders and receivers. Otherwise the first half has the senders and
    /// the second half the receivers; a single daemon always has both.
    pub everywhere: bool,
    /// How fast each sender is.
    pub rate: Rate,
    /// What is not measured, at the start.
    pub warm_up: Duration,
    /// What is measured.
    pub duration: Duration,
}

/// How fast one sender is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rate {
    /// As fast as the daemon takes messages.
    BackPressure,
    /// Messages a second.
    Fixed(f64),
}

/// What all senders together send where messages go to many groups, in bits a second.
pub const GROUPS_LOAD_BITS_PER_SECOND: f64 = 500e3;

/// Messages of so many bytes a second that are [`GROUPS_LOAD_BITS_PER_SECOND`].
#[must_use]
pub fn groups_load(body_bytes: usize) -> f64 {
    GROUPS_LOAD_BITS_PER_SECOND / 8.0 / body_bytes as f64
}

/// A name for groups that hardly any other process uses, on this machine or another.
#[must_use]
pub fn own_group() -> String {
    format!("bench-{}-{:04x}", std::process::id(), fastrand::u16(..))
}

impl Load {
    /// Agreed messages of 100 bytes in one group, from one sender on each daemon of the first half to
    /// one receiver on each of the second, as fast as back-pressure allows, for three seconds.
    #[must_use]
    pub fn new(daemons: Vec<String>) -> Self {
        Self {
            daemons,
            reach: Reach::default(),
            daemon_pids: Vec::new(),
            group: own_group(),
            groups: 1,
            body_bytes: 100,
            service: ServiceLevel::Agreed,
            senders: 1,
            receivers: 1,
            everywhere: false,
            rate: Rate::BackPressure,
            warm_up: Duration::from_millis(500),
            duration: Duration::from_secs(3),
        }
    }

    /// Daemons with senders, and daemons with receivers.
    #[must_use]
    pub fn halves(&self) -> (&[String], &[String]) {
        if self.everywhere || self.daemons.len() < 2 {
            return (&self.daemons, &self.daemons);
        }
        self.daemons.split_at(self.daemons.len() / 2)
    }

    /// Refuses what cannot be measured.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let missing = [
            (self.daemons.is_empty(), "no daemon"),
            (self.senders == 0, "no sender"),
            (self.receivers == 0, "no receiver"),
            (self.groups == 0, "no group"),
            (self.duration.is_zero(), "no time"),
            (matches!(self.rate, Rate::Fixed(rate) if rate.is_nan() || rate <= 0.0), "no message a second"),
        ];
        if let Some((_, what)) = missing.into_iter().find(|(is_missing, _)| *is_missing) {
            return Err(BenchError::Nothing(what));
        }
        check_distinct(&self.daemons)?;
        if self.body_bytes < STAMP_BYTES {
            return Err(BenchError::TooShort(self.body_bytes));
        }
        let most_bytes = MAX_BODY_AND_GROUPS_BYTES as usize - NAME_FIELD_BYTES;
        for (what, wanted, most) in [
            ("bytes in a message", self.body_bytes, most_bytes),
            ("senders on a daemon", self.senders, MAX_CLIENTS),
            ("receivers on a daemon", self.receivers, MAX_CLIENTS),
            ("groups of a receiver", self.groups, MAX_GROUPS),
        ] {
            check_most(what, wanted as f64, most as f64)?;
        }
        if let Rate::Fixed(rate) = self.rate {
            check_most("messages a second", rate, MAX_RATE)?;
        }
        match self.service {
            ServiceLevel::Unreliable | ServiceLevel::Reliable => {
                Err(BenchError::Unordered(self.service.name()))
            }
            ServiceLevel::Fifo | ServiceLevel::Causal | ServiceLevel::Agreed | ServiceLevel::Safe => Ok(()),
        }
    }

    /// Whether all receivers must see one order across senders.
    pub(crate) fn has_total_order(&self) -> bool {
        matches!(self.service, ServiceLevel::Agreed | ServiceLevel::Safe)
    }

    /// One envelope for each group.
    pub(crate) fn envelopes(&self) -> Result<Vec<Envelope>, antiphon::Error> {
        (0..self.groups).map(|number| Ok(Envelope::new(self.service).to(self.group_name(number))?)).collect()
    }

    /// The name of one of the groups.
    pub(crate) fn group_name(&self, number: usize) -> String {
        format!("{}-{number}", self.group)
    }

    /// Senders on all daemons.
    #[must_use]
    pub fn sender_count(&self) -> usize {
        self.halves().0.len() * self.senders
    }

    /// Opens a session that is told of no views.
    pub(crate) fn connect(&self, address: &str) -> Result<Connection, BenchError> {
        let connector = self.reach.connector(address).membership(false);
        connector.connect().map_err(|source| client_error(address, source))
    }
}

pub(crate) fn client_error(address: &str, source: antiphon::Error) -> BenchError {
    match source {
        antiphon::Error::Connect { .. } => BenchError::Connect(source),
        source => BenchError::Client { address: address.to_owned(), source },
    }
}

/// Which groups the messages of a sender go to. Like points on a circle, each a golden section of it from the
/// last, few messages of all senders are spread over all groups, and of many each group gets as many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scatter {
    sender: u64,
    senders: u64,
    groups: u64,
    /// About 0.618 of the groups, and without a common divisor with their number.
    step: u64,
}

impl Scatter {
    pub(crate) fn new(load: &Load, sender: u32) -> Self {
        let groups = load.groups.max(1) as u64;
        let near = (groups as f64 * 0.618) as u64;
        let step = (near.max(1)..).find(|step| greatest_common_divisor(*step, groups) == 1).unwrap_or(1);
        Self { sender: sender.into(), senders: load.sender_count() as u64, groups, step }
    }

    /// The group of the message with this number; the sender's first has 0.
    pub(crate) fn group_of(self, number: u64) -> usize {
        let place = number.wrapping_mul(self.senders).wrapping_add(self.sender) % self.groups;
        (place.wrapping_mul(self.step) % self.groups) as usize
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Refuses daemons of which one would be counted for two.
pub(crate) fn check_distinct(daemons: &[String]) -> Result<(), BenchError> {
    let mut seen = BTreeSet::new();
    match daemons.iter().find(|daemon| !seen.insert(daemon.as_str())) {
        Some(twice) => Err(BenchError::DaemonTwice(twice.clone())),
        None => Ok(()),
    }
}

/// Refuses more of something than can be had.
pub(crate) fn check_most(what: &'static str, wanted: f64, most: f64) -> Result<(), BenchError> {
    if wanted > most { Err(BenchError::TooMany { what, wanted, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(daemons: usize) -> Load {
        Load::new((0..daemons).map(|number| format!("4803@d{number}")).collect())
    }

    #[test]
    fn one_half_sends_and_the_other_receives() {
        let sizes = |load: &Load| (load.halves().0.len(), load.halves().1.len());
        assert_eq!(sizes(&load(1)), (1, 1));
        assert_eq!(sizes(&load(2)), (1, 1));
        assert_eq!(sizes(&load(5)), (2, 3));
        assert_eq!(sizes(&Load { everywhere: true, ..load(5) }), (5, 5));
    }

    #[test]
    fn few_messages_are_spread_over_all_groups_and_many_go_to_each() {
        let load = Load { senders: 10, groups: 10_000, ..load(1) };
        let groups = |each: u64| {
            let all = (0..10).flat_map(|sender| (0..each).map(move |number| (sender, number)));
            let mut groups: Vec<usize> =
                all.map(|(sender, number)| Scatter::new(&load, sender).group_of(number)).collect();
            groups.sort_unstable();
            groups
        };
        let few = groups(2);
        assert!(few.windows(2).all(|pair| pair[1] - pair[0] > 200), "{few:?}");
        assert_eq!(groups(1000), (0..10_000).collect::<Vec<_>>());
        for groups in [1, 2, 3, 10, 1000] {
            let load = Load { groups, ..load.clone() };
            let scatter = Scatter::new(&load, 3);
            assert!((0..3000).all(|number| scatter.group_of(number) < groups));
        }
    }

    #[test]
    fn what_can_not_be_judged_is_refused() {
        assert!(load(1).check().is_ok());
        assert!(matches!(load(0).check(), Err(BenchError::Nothing("no daemon"))));
        let twice = Load::new(["4803", "4805", "4803"].map(str::to_owned).to_vec());
        assert!(matches!(twice.check(), Err(BenchError::DaemonTwice(daemon)) if daemon == "4803"));
        let short = Load { body_bytes: STAMP_BYTES - 1, ..load(1) };
        assert!(matches!(short.check(), Err(BenchError::TooShort(19))));
        let reliable = Load { service: ServiceLevel::Reliable, ..load(1) };
        assert!(matches!(reliable.check(), Err(BenchError::Unordered("reliable"))));
        let still = Load { rate: Rate::Fixed(0.0), ..load(1) };
        assert!(matches!(still.check(), Err(BenchError::Nothing("no message a second"))));
        for (absurd, what) in [
            (Load { body_bytes: usize::MAX, ..load(1) }, "bytes in a message"),
            (Load { senders: usize::MAX, ..load(1) }, "senders on a daemon"),
            (Load { receivers: 20_001, ..load(1) }, "receivers on a daemon"),
            (Load { groups: 65_537, ..load(1) }, "groups of a receiver"),
            (Load { rate: Rate::Fixed(f64::INFINITY), ..load(1) }, "messages a second"),
        ] {
            assert!(matches!(absurd.check(), Err(BenchError::TooMany { what: said, .. }) if said == what));
        }
    }
}
