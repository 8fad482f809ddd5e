//! The checkers: what must be true of every run, judged from the trace alone.
//!
//! Each file is one property or a few that belong together. What a property says stands at the
//! head of its file; docs/testing.md lists their names. A property whose obligation is void (the process
//! crashed) or not yet due (the run was cut in the middle) is not violated.

mod atomicity;
mod barrier;
mod causal;
mod closings;
mod common_view;
mod configurations;
mod daemon_order;
mod delivery;
mod exits;
mod flush;
mod flush_changes;
mod flush_limit;
mod ghosts;
mod history;
mod integrity;
mod liveness;
mod membership_order;
mod order;
mod own_messages;
mod program_order;
mod safe;
mod self_delivery;
mod session_order;
mod signal_place;
mod signals;
mod stays;
#[cfg(test)]
mod story;
mod stream;
mod tables;
mod view_identity;
mod views;
mod virtual_synchrony;

use std::fmt;

use antiphon_proto::time::Instant;

use crate::trace::Trace;
use history::History;
use stays::Stays;

/// Most violations that one checker reports; the first few say everything.
const ENOUGH: usize = 5;

/// One broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its name in docs/testing.md.
    pub property: &'static str,
    /// What happened, with the names of everyone involved.
    pub text: String,
    /// When, if there is one moment.
    pub at: Option<Instant>,
    /// Processes involved, as positions in the trace.
    pub processes: Vec<usize>,
}

impl Violation {
    fn new(property: &'static str, processes: &[usize], text: String) -> Self {
        Self { property, text, at: None, processes: processes.to_vec() }
    }

    fn at(self, at: Instant) -> Self {
        Self { at: Some(at), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.text)?;
        match self.at {
            Some(at) => write!(f, " (at {at})"),
            None => Ok(()),
        }
    }
}

type DaemonCheck = fn(&History<'_>, &mut Vec<Violation>);
type SessionCheck = fn(&Trace, &Stays<'_>, &mut Vec<Violation>);

const DAEMON_CHECKS: &[DaemonCheck] = &[
    integrity::check,
    configurations::check,
    order::check,
    causal::check,
    atomicity::check,
    safe::check,
    self_delivery::check,
    barrier::check,
    tables::check,
    program_order::check,
    closings::check,
    liveness::check,
];

const SESSION_CHECKS: &[SessionCheck] = &[
    stream::check,
    session_order::check,
    own_messages::check,
    views::check,
    view_identity::check,
    membership_order::check,
    common_view::check,
    virtual_synchrony::check,
    signals::check,
    ghosts::check,
    flush::check,
    flush_changes::check,
    flush_limit::check,
];

/// Checks everything; an empty result means that no promise was broken.
#[must_use]
pub fn all(trace: &Trace) -> Vec<Violation> {
    let history = History::new(trace);
    let stays = Stays::new(trace);
    let mut violations = Vec::new();
    for check in DAEMON_CHECKS {
        check(&history, &mut violations);
    }
    delivery::check(&history, &stays, &mut violations);
    signal_place::check(&history, &stays, &mut violations);
    for check in SESSION_CHECKS {
        check(trace, &stays, &mut violations);
    }
    violations
}

/// What can be said of what clients saw without knowing what their daemons did: of logs of real runs.
const CLIENT_CHECKS: &[SessionCheck] = &[
    stream::check,
    session_order::check,
    own_messages::check,
    views::check,
    view_identity::check,
    common_view::check,
    virtual_synchrony::check,
    signals::check,
];

/// Checks a trace of clients alone; an empty result means that no promise to them was broken.
#[must_use]
pub fn clients(trace: &Trace) -> Vec<Violation> {
    let stays = Stays::new(trace);
    let mut violations = Vec::new();
    for check in CLIENT_CHECKS {
        check(trace, &stays, &mut violations);
    }
    violations
}

/// The verdict on a run that was given up because its events did not end.
#[must_use]
pub fn spinning(events: u64) -> Violation {
    Violation::new("R4", &[], format!("{events} events happened and the run was not over"))
}

/// Whether a checker has reported enough of one property.
fn is_enough(violations: &[Violation], property: &'static str) -> bool {
    violations.iter().filter(|violation| violation.property == property).count() >= ENOUGH
}

/// Adds a violation unless enough of its property are known.
fn report(violations: &mut Vec<Violation>, violation: Violation) {
    if !is_enough(violations, violation.property) {
        violations.push(violation);
    }
}
