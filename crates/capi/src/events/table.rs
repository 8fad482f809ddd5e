//! What the event loop waits for: times, and descriptors by priority.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::time::Instant;

use crate::layout::{FdFunction, TimeFunction};

/// Priorities of descriptors, lowest first.
pub(super) const PRIORITIES: usize = 3;

/// What a program wants to be called with at a time. The same function, code and data are queued once.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeEvent {
    pub(super) function: TimeFunction,
    pub(super) code: c_int,
    pub(super) data: *mut c_void,
}

// SAFETY: the library never looks behind `data`; it hands it to the program's function, in the thread that
// runs the loop, as sp_events.h says.
unsafe impl Send for TimeEvent {}

impl TimeEvent {
    fn is(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.function, other.function)
            && (self.code, self.data) == (other.code, other.data)
    }
}

/// What of a descriptor is waited for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum FdKind {
    Read,
    Write,
    Exception,
}

impl FdKind {
    pub(super) fn from_number(number: c_int) -> Option<Self> {
        [Self::Read, Self::Write, Self::Exception].get(usize::try_from(number).ok()?).copied()
    }
}

/// A descriptor and what of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) fd: c_int,
    pub(super) kind: FdKind,
}

/// What a program wants to be called with for a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct FdEvent {
    pub(super) function: FdFunction,
    pub(super) code: c_int,
    pub(super) data: *mut c_void,
    pub(super) active: bool,
}

// SAFETY: as for `TimeEvent`.
unsafe impl Send for FdEvent {}

/// All that is waited for.
#[derive(Debug)]
pub(super) struct Table {
    /// By time, and in the order of queueing for the same time.
    times: BTreeMap<(Instant, u64), TimeEvent>,
    queued: u64,
    fds: [BTreeMap<Place, FdEvent>; PRIORITIES],
    /// Descriptors of lower priorities are passed over.
    threshold: usize,
}

impl Table {
    pub(super) const fn new() -> Self {
        let fds = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
        Self { times: BTreeMap::new(), queued: 0, fds, threshold: 0 }
    }

    /// Queues an event; one that is queued gets the new time.
    pub(super) fn queue(&mut self, event: TimeEvent, at: Instant) {
        self.dequeue(&event);
        self.queued += 1;
        self.times.insert((at, self.queued), event);
    }

    /// Forgets an event; false when it was not queued.
    pub(super) fn dequeue(&mut self, event: &TimeEvent) -> bool {
        let before = self.times.len();
        self.times.retain(|_, queued| !queued.is(event));
        self.times.len() < before
    }

    pub(super) fn is_queued(&self, event: &TimeEvent) -> bool {
        self.times.values().any(|queued| queued.is(event))
    }

    pub(super) fn dequeue_all(&mut self) {
        self.times.clear();
    }

    /// Takes the next event that is due, of those queued before `limit` were.
    pub(super) fn take_due(&mut self, now: Instant, limit: u64) -> Option<TimeEvent> {
        let (key, _) = self.times.range(..=(now, u64::MAX)).find(|((_, queued), _)| *queued <= limit)?;
        let key = *key;
        self.times.remove(&key)
    }

    /// The number of events that were ever queued.
    pub(super) fn queued(&self) -> u64 {
        self.queued
    }

    /// When the first event is due.
    pub(super) fn next_time(&self) -> Option<Instant> {
        self.times.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn attach(&mut self, place: Place, priority: usize, event: FdEvent) -> bool {
        self.fds.get_mut(priority).map(|fds| fds.insert(place, event)).is_some()
    }

    /// Forgets a descriptor, at one priority or all; false when it was not attached.
    pub(super) fn detach(&mut self, place: Place, priority: Option<usize>) -> bool {
        let mut found = false;
        for (here, fds) in self.fds.iter_mut().enumerate() {
            found |= priority.is_none_or(|wanted| wanted == here) && fds.remove(&place).is_some();
        }
        found
    }

    /// Lets a descriptor be waited for or not; false when it is not attached.
    pub(super) fn set_active(&mut self, place: Place, active: bool) -> bool {
        let mut found = false;
        for event in self.fds.iter_mut().filter_map(|fds| fds.get_mut(&place)) {
            event.active = active;
            found = true;
        }
        found
    }

    pub(super) fn active_count(&self, priority: usize) -> Option<usize> {
        Some(self.fds.get(priority)?.values().filter(|event| event.active).count())
    }

    pub(super) fn set_threshold(&mut self, priority: usize) {
        self.threshold = priority;
    }

    /// The event of a descriptor, unless it is passed over now.
    pub(super) fn wanted(&self, place: Place, priority: usize) -> Option<FdEvent> {
        let event = self.fds.get(priority)?.get(&place)?;
        (event.active && priority >= self.threshold).then_some(*event)
    }

    /// What is waited for, highest priority first.
    pub(super) fn all_wanted(&self) -> Vec<(Place, usize)> {
        let from_highest = self.fds.iter().enumerate().skip(self.threshold).rev();
        from_highest
            .flat_map(|(priority, fds)| {
                fds.iter().filter(|(_, event)| event.active).map(move |(place, _)| (*place, priority))
            })
            .collect()
    }
}
