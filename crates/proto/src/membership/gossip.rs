//! What I know of other daemons: who is alive, whom I hear, whom they hear.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_wire::ids::{DaemonId, ProcessId, RingId};
use antiphon_wire::ring::gossip::{HearsRow, Hello, Join};

use super::runs::{Runs, Sighting};
use crate::config::Config;
use crate::time::Instant;

/// Runs of one daemon whose rows are kept: word of one may still come when the next is here. More come of
/// one that crashes again and again, and must not take the place of others' rows.
const MAX_RUNS: usize = 2;
/// Times the hello interval that a hello counts.
const HELLOS_FRESH: u32 = 3;
/// So many hellos in a row without a probe, or probes without a hello, are no accident.
pub(super) const TOO_OFTEN: u32 = 10;
/// Times the freshness of a join that a probe counts: it is not repeated as joins are.
const PROBE_FRESH: u32 = 10;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Gossip {
    me: ProcessId,
    /// Version of my last join.
    version: u64,
    runs: Runs,
    heard: BTreeMap<ProcessId, Heard>,
    rows: BTreeMap<ProcessId, Row>,
    hellos: BTreeMap<ProcessId, SeenHello>,
    probes: BTreeMap<ProcessId, SeenProbe>,
    /// Processes that failed as leaders, and until when they are passed over.
    avoided: BTreeMap<ProcessId, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    epoch: u64,
    version: u64,
}

#[derive(Debug)]
struct Row {
    at: Instant,
    version: u64,
    hears: BTreeSet<ProcessId>,
}

#[derive(Debug)]
struct SeenHello {
    at: Instant,
    ring: RingId,
    members: Vec<ProcessId>,
    hears: BTreeSet<ProcessId>,
    /// Hellos in a row before which no probe came, and when the last was counted.
    unprobed: u32,
    counted_at: Option<Instant>,
}

/// What a process tells me alone arrives.
#[derive(Clone, Copy, Debug)]
struct SeenProbe {
    at: Instant,
    /// Hello intervals in a row at whose end nothing else of the process had come.
    unheard: u32,
    /// Whether that counts this one.
    is_counted: bool,
}

impl Gossip {
    pub(crate) fn new(me: ProcessId) -> Self {
        Self {
            me,
            version: 0,
            runs: Runs::default(),
            heard: BTreeMap::new(),
            rows: BTreeMap::new(),
            hellos: BTreeMap::new(),
            probes: BTreeMap::new(),
            avoided: BTreeMap::new(),
        }
    }

    /// Notes that a datagram of `from` arrived, as [`Runs::sight`] does, and forgets the run that it shows to be dead.
    pub(crate) fn sight(&mut self, from: ProcessId, earlier_is_dead: bool, now: Instant) -> Sighting {
        let sighting = self.runs.sight(from, earlier_is_dead, now);
        if sighting == Sighting::Newer {
            self.forget_others_of(from);
        }
        sighting
    }

    fn forget_others_of(&mut self, from: ProcessId) {
        let keep = |process: &ProcessId| process.daemon != from.daemon || *process == from;
        self.heard.retain(|process, _| keep(process));
        self.rows.retain(|process, _| keep(process));
        self.hellos.retain(|process, _| keep(process));
        self.probes.retain(|process, _| keep(process));
        self.avoided.retain(|process, _| keep(process));
    }

    /// A process said goodbye.
    pub(crate) fn depart(&mut self, process: ProcessId) {
        self.runs.depart(process);
        self.heard.remove(&process);
        self.rows.remove(&process);
        self.hellos.remove(&process);
        self.probes.remove(&process);
    }

    /// Whether the process cannot be in a ring any more.
    pub(crate) fn is_gone(&self, process: ProcessId) -> bool {
        self.runs.is_gone(process)
    }

    /// Whether something of a daemon arrived in the time before `now`.
    pub(crate) fn was_sighted(&self, daemon: DaemonId, within: Duration, now: Instant) -> bool {
        self.runs.was_sighted(daemon, within, now)
    }

    /// Takes a join in; returns whether it told anything new, and `None` when it is an old one.
    /// Of a process that I hear myself only its own word counts, so that nobody can put a version that is
    /// never reached before it.
    pub(crate) fn on_join(&mut self, join: &Join, config: &Config, now: Instant) -> Option<bool> {
        let before = self.heard.get(&join.from).copied();
        if before.is_some_and(|heard| heard.version >= join.version) {
            return None;
        }
        let heard = Heard { at: now, epoch: join.epoch, version: join.version };
        self.heard.insert(join.from, heard);
        let hears = self.hears(now, config);
        for row in &join.rows {
            let is_news = || self.rows.get(&row.of).is_none_or(|known| known.version < row.version);
            let counts = row.of == join.from || !hears.contains(&row.of) && is_news();
            if counts && row.of != self.me && config.daemon(row.of.daemon).is_some() {
                self.keep_row(row, config, now);
            }
        }
        Some(before.is_none())
    }

    /// Keeps what a row says of configured daemons, and of each daemon only so many rows. Stale ones are kept
    /// too, for their versions: what others still repeat must not become fresh again.
    fn keep_row(&mut self, row: &HearsRow, config: &Config, now: Instant) {
        let hears = row.hears.iter().filter(|of| config.daemon(of.daemon).is_some()).copied().collect();
        self.rows.insert(row.of, Row { at: now, version: row.version, hears });
        let runs = || self.rows.iter().filter(|(of, _)| of.daemon == row.of.daemon);
        if runs().count() > MAX_RUNS
            && let Some(stalest) = runs().min_by_key(|(of, row)| (row.at, **of)).map(|(of, _)| *of)
        {
            self.rows.remove(&stalest);
        }
    }

    /// Takes a hello in; returns whether its sender was not heard lately.
    pub(crate) fn on_hello(&mut self, hello: &Hello, now: Instant, config: &Config) -> bool {
        let is_news = self.fresh_hello(hello.from, now, config).is_none();
        let before = self.hellos.get(&hello.from);
        let (unprobed, counted_at) = before.map_or((0, None), |before| (before.unprobed, before.counted_at));
        let seen = SeenHello {
            at: now,
            ring: hello.ring,
            members: hello.members.clone(),
            hears: hello.hears.clone(),
            unprobed,
            counted_at,
        };
        self.hellos.insert(hello.from, seen);
        is_news
    }

    /// A probe arrived: what the process tells me alone does. Returns whether that had not been known lately.
    pub(crate) fn on_probe(&mut self, from: ProcessId, now: Instant, config: &Config) -> bool {
        let is_news = !self.has_probed(from, now, config);
        let unheard = self.probes.get(&from).map_or(0, |before| before.unheard);
        self.probes.insert(from, SeenProbe { at: now, unheard, is_counted: false });
        is_news
    }

    fn has_probed(&self, process: ProcessId, now: Instant, config: &Config) -> bool {
        let fresh = config.membership.fresh * PROBE_FRESH;
        self.probes.get(&process).is_some_and(|probe| now.since(probe.at) < fresh)
    }

    /// Counts the hellos of a process in a row before which no probe came, and returns how many there are if this one
    /// counts. What comes all at once, as to a daemon that stood still, counts once: the probes may wait behind it.
    pub(crate) fn count_unprobed(
        &mut self,
        process: ProcessId,
        now: Instant,
        config: &Config,
    ) -> Option<u32> {
        let has_probed = self.has_probed(process, now, config);
        let hello = self.hellos.get_mut(&process)?;
        if has_probed {
            hello.unprobed = 0;
            return None;
        }
        let gap = config.membership.hello / 2;
        if hello.counted_at.is_some_and(|at| now.since(at) < gap) {
            return None;
        }
        (hello.unprobed, hello.counted_at) = (hello.unprobed.saturating_add(1), Some(now));
        Some(hello.unprobed)
    }

    /// Processes whose probes came since this was asked last, and whose hellos do not come; and how often in a row that
    /// was so.
    pub(crate) fn count_unheard(&mut self, now: Instant, config: &Config) -> Vec<(ProcessId, u32)> {
        let probing = self.probes.iter().filter(|(_, probe)| !probe.is_counted);
        let probing: Vec<ProcessId> = probing.map(|(process, _)| *process).collect();
        let mut unheard = Vec::new();
        for process in probing {
            let is_heard = self.fresh_hello(process, now, config).is_some();
            let Some(probe) = self.probes.get_mut(&process) else { continue };
            probe.is_counted = true;
            probe.unheard = if is_heard { 0 } else { probe.unheard.saturating_add(1) };
            if !is_heard {
                unheard.push((process, probe.unheard));
            }
        }
        unheard
    }

    /// Processes that I heard lately: their joins, and a probe.
    pub(crate) fn hears(&self, now: Instant, config: &Config) -> BTreeSet<ProcessId> {
        let fresh = config.membership.fresh;
        let heard = self.heard.iter().filter(|(_, heard)| now.since(heard.at) < fresh);
        heard.map(|(process, _)| *process).filter(|process| self.has_probed(*process, now, config)).collect()
    }

    /// Rows of others that are fresh enough to build on. They may be a little older than what I
    /// hear myself, since they travelled through others.
    pub(crate) fn fresh_rows(
        &self,
        now: Instant,
        config: &Config,
    ) -> BTreeMap<ProcessId, &BTreeSet<ProcessId>> {
        let fresh = config.membership.fresh + config.membership.fresh / 2;
        let usable = |process: &ProcessId, row: &Row| now.since(row.at) < fresh && !self.is_gone(*process);
        self.rows
            .iter()
            .filter(|(process, row)| usable(process, row))
            .map(|(process, row)| (*process, &row.hears))
            .collect()
    }

    /// My next join, as one who has reached that epoch.
    pub(crate) fn join(
        &mut self,
        epoch: u64,
        wanted: Vec<ProcessId>,
        cause: String,
        now: Instant,
        config: &Config,
    ) -> Join {
        self.version += 1;
        let mine = HearsRow { of: self.me, version: self.version, hears: self.hears(now, config) };
        let versions = |process: &ProcessId| self.rows.get(process).map_or(0, |row| row.version);
        let others = self.fresh_rows(now, config);
        let others = others.into_iter().map(|(of, hears)| HearsRow {
            of,
            version: versions(&of),
            hears: hears.clone(),
        });
        let rows = std::iter::once(mine).chain(others).collect();
        Join { from: self.me, epoch, version: self.version, wanted, cause, rows }
    }

    /// The greatest epoch that others said to have reached.
    pub(crate) fn highest_epoch(&self) -> u64 {
        self.heard.values().map(|heard| heard.epoch).max().unwrap_or_default()
    }

    /// Keeps only what is fresh, at the start of gathering.
    pub(crate) fn begin_gather(&mut self, now: Instant, config: &Config) {
        let fresh = config.membership.fresh;
        self.heard.retain(|_, heard| now.since(heard.at) < fresh);
        self.avoided.retain(|_, until| *until > now);
    }

    /// A ring is installed: what was heard before it says nothing about it.
    pub(crate) fn end_gather(&mut self) {
        self.heard.clear();
        self.rows.clear();
        self.avoided.clear();
    }

    /// Passes a process over as leader for a while.
    pub(crate) fn avoid(&mut self, leader: ProcessId, until: Instant) {
        self.avoided.insert(leader, until);
    }

    /// Whether the process should not lead now.
    pub(crate) fn is_avoided(&self, process: ProcessId, now: Instant) -> bool {
        self.avoided.get(&process).is_some_and(|until| *until > now)
    }

    fn fresh_hello(&self, of: ProcessId, now: Instant, config: &Config) -> Option<&SeenHello> {
        let fresh = config.membership.hello * HELLOS_FRESH;
        self.hellos.get(&of).filter(|hello| now.since(hello.at) < fresh)
    }

    /// Processes whose hellos I heard lately, and a probe; that members of my ring reach me, the ring shows.
    pub(crate) fn hears_hellos(
        &self,
        mine: &[ProcessId],
        now: Instant,
        config: &Config,
    ) -> BTreeSet<ProcessId> {
        self.hellos.keys().copied().filter(|of| self.hears_hello(*of, mine, now, config)).collect()
    }

    fn hears_hello(&self, of: ProcessId, mine: &[ProcessId], now: Instant, config: &Config) -> bool {
        self.fresh_hello(of, now, config).is_some()
            && (mine.contains(&of) || self.has_probed(of, now, config))
    }

    /// Whether some process outside of `ring` was heard lately.
    pub(crate) fn hears_strangers(&self, ring: RingId, now: Instant, config: &Config) -> bool {
        let strange =
            |of: &ProcessId| self.fresh_hello(*of, now, config).is_some_and(|hello| hello.ring != ring);
        self.hellos.keys().any(strange)
    }

    /// Members of my ring and of the other's, if every two of them hear each other's hellos: only
    /// whole rings merge, so the number of rings can only fall (docs/protocol.md, M13).
    pub(crate) fn mergeable(
        &self,
        mine: &[ProcessId],
        other: ProcessId,
        now: Instant,
        config: &Config,
    ) -> Option<Vec<ProcessId>> {
        let theirs = &self.fresh_hello(other, now, config)?.members;
        let union: BTreeSet<ProcessId> = mine.iter().chain(theirs).copied().collect();
        let hears = |a: ProcessId, b: ProcessId| {
            if a == self.me {
                self.hears_hello(b, mine, now, config)
            } else {
                self.fresh_hello(a, now, config).is_some_and(|hello| hello.hears.contains(&b))
            }
        };
        let connected = union.iter().all(|a| union.iter().all(|b| a == b || hears(*a, *b)));
        let one_each =
            union.iter().map(|process| process.daemon).collect::<BTreeSet<_>>().len() == union.len();
        (connected && one_each).then(|| union.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
