//! The trace of the daemons with its messages found and numbered, as the checkers need it.
//!
//! A message is known by its ring and its place in the order. Within one ring all messages that
//! were originated get an ordinal, 0 upward without gaps, so that sets of them are bit sets and
//! "everything before" is a range.

use std::collections::BTreeMap;

use antiphon_proto::CloseReason;
use antiphon_proto::delivery::Configuration;
use antiphon_proto::time::Instant;
use antiphon_wire::ids::{ProcessId, RingId, Seq};

use crate::trace::{Ending, ProcessEvent, Stamp, Trace};

/// A message that got a number, in its ring.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its identity and content, as its sender recorded it.
    pub(super) stamp: Stamp,
    /// Who numbered it, as a position in the trace.
    pub(super) sender: usize,
    /// Ordinals of its ring below this may have been delivered by the sender before: the ordered
    /// messages among them are the causal past.
    pub(super) past: usize,
}

/// Which message: its ring, as a position in [`History::rings`], and its ordinal there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct MessageId {
    pub(super) ring: usize,
    pub(super) ordinal: usize,
}

/// All messages of one ring.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) id: RingId,
    /// The messages in their order.
    pub(super) messages: Vec<Message>,
}

/// Identity of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum ConfigurationId {
    Regular(RingId),
    Transitional { old: RingId, new: RingId },
}

impl ConfigurationId {
    pub(super) fn of(configuration: &Configuration) -> Self {
        match configuration {
            Configuration::Regular { ring, .. } => Self::Regular(*ring),
            Configuration::Transitional { old, new, .. } => Self::Transitional { old: *old, new: *new },
        }
    }
}

impl std::fmt::Display for ConfigurationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Regular(ring) => write!(f, "ring {ring}"),
            Self::Transitional { old, new } => write!(f, "transition {old} -> {new}"),
        }
    }
}

/// One record of a process with its message found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Configured(&'a Configuration),
    Sent(MessageId),
    Delivered(Delivered<'a>),
    Settled(RingId),
    Table(RingId, Option<(Seq, u16)>, u64),
    Accepted(usize),
    Closed(usize, CloseReason),
}

/// A delivery. `id` is `None` when nobody numbered such a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered<'a> {
    pub(super) id: Option<MessageId>,
    pub(super) sender: ProcessId,
    pub(super) stamp: &'a Stamp,
    pub(super) early: bool,
}

/// What one process did.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) process: ProcessId,
    pub(super) steps: Vec<(Instant, Step<'a>)>,
    /// Whether it crashed or stopped.
    pub(super) ended: bool,
    /// What it delivered, by ring.
    pub(super) delivered: BTreeMap<usize, Bits>,
    /// The rings whose regular configuration it delivered, in order.
    pub(super) installed: Vec<RingId>,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct History<'a> {
    pub(super) trace: &'a Trace,
    pub(super) rings: Vec<Ring>,
    pub(super) runs: Vec<Run<'a>>,
    positions: BTreeMap<ProcessId, usize>,
    ring_positions: BTreeMap<RingId, usize>,
}

impl<'a> History<'a> {
    pub(super) fn new(trace: &'a Trace) -> Self {
        let (rings, ring_positions) = rings(trace);
        let positions = trace.processes.iter().enumerate().map(|(at, process)| (process.process, at));
        let positions = positions.collect();
        let mut history = Self { trace, rings, runs: Vec::new(), positions, ring_positions };
        history.runs = (0..trace.processes.len()).map(|at| history.run(at)).collect();
        history.set_pasts();
        history
    }

    fn run(&self, at: usize) -> Run<'a> {
        let traced = &self.trace.processes[at];
        let steps: Vec<_> = traced.records.iter().map(|(at, event)| (*at, self.step(event))).collect();
        let mut delivered = BTreeMap::new();
        let mut installed = Vec::new();
        for (_, step) in &steps {
            match step {
                Step::Delivered(Delivered { id: Some(id), .. }) => {
                    delivered.entry(id.ring).or_insert_with(Bits::default).insert(id.ordinal);
                }
                Step::Configured(Configuration::Regular { ring, .. }) => installed.push(*ring),
                _ => {}
            }
        }
        Run { process: traced.process, steps, ended: traced.ended.is_some(), delivered, installed }
    }

    fn step(&self, event: &'a ProcessEvent) -> Step<'a> {
        match event {
            ProcessEvent::Configured(configuration) => Step::Configured(configuration),
            ProcessEvent::Settled(ring) => Step::Settled(*ring),
            ProcessEvent::Table { ring, place, hash } => Step::Table(*ring, *place, *hash),
            ProcessEvent::Accepted(session) => Step::Accepted(*session),
            ProcessEvent::Closed(session, reason) => Step::Closed(*session, *reason),
            ProcessEvent::Originated(stamp) => match self.find(stamp) {
                Some(id) => Step::Sent(id),
                None => unreachable!("every originated message was collected"),
            },
            ProcessEvent::Delivered { sender, stamp, early } => {
                let id = self.find(stamp);
                Step::Delivered(Delivered { id, sender: *sender, stamp, early: *early })
            }
        }
    }

    fn find(&self, stamp: &Stamp) -> Option<MessageId> {
        let ring = *self.ring_positions.get(&stamp.ring)?;
        let place = stamp.place();
        let found = self.rings[ring].messages.binary_search_by_key(&place, |message| message.stamp.place());
        Some(MessageId { ring, ordinal: found.ok()? })
    }

    fn set_pasts(&mut self) {
        for run in &self.runs {
            let mut highest: BTreeMap<usize, usize> = BTreeMap::new();
            for (_, step) in &run.steps {
                match step {
                    Step::Delivered(Delivered { id: Some(id), stamp, early: false, .. })
                        if stamp.is_ordered() =>
                    {
                        let highest = highest.entry(id.ring).or_default();
                        *highest = (*highest).max(id.ordinal + 1);
                    }
                    Step::Sent(id) => {
                        let past = highest.get(&id.ring).copied().unwrap_or(0);
                        self.rings[id.ring].messages[id.ordinal].past = past;
                    }
                    _ => {}
                }
            }
        }
    }

    pub(super) fn message(&self, id: MessageId) -> &Message {
        &self.rings[id.ring].messages[id.ordinal]
    }

    /// The run of a process; `None` when no such process ever booted.
    pub(super) fn run_of(&self, process: ProcessId) -> Option<(usize, &Run<'a>)> {
        let at = *self.positions.get(&process)?;
        Some((at, &self.runs[at]))
    }

    pub(super) fn ring_position(&self, ring: RingId) -> Option<usize> {
        self.ring_positions.get(&ring).copied()
    }

    pub(super) fn has_delivered(&self, run: usize, id: MessageId) -> bool {
        self.runs[run].delivered.get(&id.ring).is_some_and(|bits| bits.contains(id.ordinal))
    }

    /// Whether what a process owes for messages of a ring must be done by now.
    pub(super) fn is_due(&self, run: usize, ring: RingId) -> bool {
        let run = &self.runs[run];
        if run.ended {
            return false;
        }
        let installed = run.installed.iter().position(|installed| *installed == ring);
        let went_on = installed.is_some_and(|at| at + 1 < run.installed.len());
        went_on || self.trace.ending != Ending::Cut
    }

    /// A message in words.
    pub(super) fn describe(&self, id: MessageId) -> String {
        let message = self.message(id);
        let stamp = &message.stamp;
        let sender = self.runs.get(message.sender).map_or_else(String::new, |run| run.process.to_string());
        format!(
            "{:?} message {}/{} of ring {} ({}, sent by {sender})",
            stamp.kind,
            stamp.seq,
            stamp.index,
            stamp.ring,
            stamp.service.name()
        )
    }
}

fn rings(trace: &Trace) -> (Vec<Ring>, BTreeMap<RingId, usize>) {
    let mut rings: BTreeMap<RingId, Vec<Message>> = BTreeMap::new();
    for (sender, process) in trace.processes.iter().enumerate() {
        for (_, event) in &process.records {
            if let ProcessEvent::Originated(stamp) = event {
                let message = Message { stamp: *stamp, sender, past: 0 };
                rings.entry(stamp.ring).or_default().push(message);
            }
        }
    }
    let positions = rings.keys().enumerate().map(|(at, ring)| (*ring, at)).collect();
    let sorted = |(id, mut messages): (RingId, Vec<Message>)| {
        messages.sort_by_key(|message| message.stamp.place());
        Ring { id, messages }
    };
    (rings.into_iter().map(sorted).collect(), positions)
}

/// A set of small numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; false when it was there.
    pub(super) fn insert(&mut self, number: usize) -> bool {
        let word = number / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_added_once() {
        let mut bits = Bits::default();
        assert!(bits.insert(130) && !bits.insert(130) && bits.insert(0));
        assert!(bits.contains(130) && bits.contains(0) && !bits.contains(64) && !bits.contains(1000));
    }
}
