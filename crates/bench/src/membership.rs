//! How late joins and leaves are in a large group.

use std::fmt::{self, Display};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Connection, Event};
use serde::Serialize;

use crate::address::Reach;
use crate::crowd::{Crowd, allow_sessions};
use crate::error::BenchError;
use crate::load::{MAX_CLIENTS, check_distinct, check_most, client_error};
use crate::report::several;
use crate::watch::Watchers;

/// How long one change of the group may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Groups of several sizes, one after the other, in which one more member joins and leaves.
#[derive(Clone, Debug)]
pub struct MembershipLoad {
    /// Where the daemons are, as [`Reach::connector`] reads it. Members are spread over all of them.
    pub daemons: Vec<String>,
    /// The rest of where they are.
    pub reach: Reach,
    /// Name of the group, which nobody else may use.
    pub group: String,
    /// Sizes of the group, ascending.
    pub members: Vec<usize>,
    /// Joins and leaves with each size.
    pub rounds: usize,
}

/// What joins and leaves took in a group of one size.
#[derive(Clone, Debug, Serialize)]
pub struct MembershipRow {
    /// Daemons that the members are spread over.
    pub daemons: usize,
    /// Members, without the one that comes and goes.
    pub members: usize,
    /// How long the members together took to join, when the group grew to this size.
    pub filling_ms: f64,
    /// From the request to join to the view at the joiner.
    pub join_here: Spread,
    /// From the request to join to the view at the last member.
    pub join_everywhere: Spread,
    /// From the request to leave to the word that it happened.
    pub leave_here: Spread,
    /// From the request to leave to the view at the last member.
    pub leave_everywhere: Spread,
    /// Views that the network caused meanwhile though it was whole, over one watching session on each daemon.
    pub false_views: u64,
}

/// Times of one kind, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Spread {
    pub mean_ms: f64,
    pub median_ms: f64,
    pub max_ms: f64,
}

impl Spread {
    /// Of no times at all everything is 0.
    #[must_use]
    pub fn of(times: &[Duration]) -> Self {
        let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let mean_ms = if ms.is_empty() { 0.0 } else { ms.iter().sum::<f64>() / ms.len() as f64 };
        let at = |index: usize| ms.get(index).copied().unwrap_or_default();
        // Of an even number, the mean of the two in the middle.
        let median_ms = f64::midpoint(at(ms.len().saturating_sub(1) / 2), at(ms.len() / 2));
        Self { mean_ms, median_ms, max_ms: at(ms.len().saturating_sub(1)) }
    }
}

impl Display for MembershipRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (members, daemons) = (several(self.members, "member"), several(self.daemons, "daemon"));
        writeln!(f, "group      {members} on {daemons}, filled in {:.0} ms", self.filling_ms)?;
        for (what, spread) in [
            ("join       at the joiner", self.join_here),
            ("           at the last member", self.join_everywhere),
            ("leave      at the leaver", self.leave_here),
            ("           at the last member", self.leave_everywhere),
        ] {
            let Spread { mean_ms, median_ms, max_ms } = spread;
            writeln!(f, "{what:30} mean {mean_ms:.2}, median {median_ms:.2}, max {max_ms:.2} ms")?;
        }
        writeln!(f, "faults     {} false views", self.false_views)
    }
}

/// Measures groups of the asked sizes. `on_row` is told of each size when it is done.
///
/// # Errors
/// When the load makes no sense, a daemon does not answer, or a view does not come.
pub fn measure_membership(
    load: &MembershipLoad,
    mut on_row: impl FnMut(&MembershipRow),
) -> Result<Vec<MembershipRow>, BenchError> {
    let most = check(load)?;
    allow_sessions(most + 2 * load.daemons.len());
    let mut watchers = Watchers::gather(&load.daemons, &load.reach, &load.group)?;
    let (changes, wanted) = channel();
    let (seen, done) = channel();
    thread::scope(|scope| {
        let crowd = scope.spawn(move || watch(load, &wanted, &seen));
        let members = Members { changes, done };
        let measured = measure_all(load, &members, &mut watchers, &mut on_row);
        drop(members);
        let watched = crowd.join().unwrap_or(Err(BenchError::Thread));
        // What stopped the crowd is why nothing came from it.
        watched.and(measured)
    })
}

/// Refuses what cannot be measured; returns the size of the largest group.
fn check(load: &MembershipLoad) -> Result<usize, BenchError> {
    let missing = [(load.daemons.is_empty(), "no daemon"), (load.rounds == 0, "no round")];
    if let Some((_, what)) = missing.into_iter().find(|(is_missing, _)| *is_missing) {
        return Err(BenchError::Nothing(what));
    }
    check_distinct(&load.daemons)?;
    let most = *load.members.last().ok_or(BenchError::Nothing("no member"))?;
    if load.members.first() == Some(&0) || !load.members.is_sorted_by(|less, more| less < more) {
        return Err(BenchError::Sizes);
    }
    check_most("members of a group", most as f64, (MAX_CLIENTS * load.daemons.len()) as f64)?;
    Ok(most)
}

/// What the crowd is asked to do, one after the other.
enum Change {
    /// Grow to so many members.
    Fill(usize),
    /// Wait until every member has a view of so many.
    Await(usize),
}

/// The thread of the members, seen from the one that measures.
struct Members {
    changes: Sender<Change>,
    /// When each change was done.
    done: Receiver<Instant>,
}

impl Members {
    fn ask(&self, change: Change) -> Result<(), BenchError> {
        self.changes.send(change).map_err(|_| BenchError::Thread)
    }

    /// When what was asked first, of what was not answered yet, was done.
    fn answer(&self) -> Result<Instant, BenchError> {
        self.done.recv().map_err(|_| BenchError::Thread)
    }
}

/// How long changes of one kind took.
#[derive(Default)]
struct Times {
    here: Vec<Duration>,
    everywhere: Vec<Duration>,
}

impl Times {
    /// Notes a change that was asked for at `begun`; whoever asked may be the last to see it.
    fn note(&mut self, begun: Instant, here: Instant, at_members: Instant) {
        self.here.push(here - begun);
        self.everywhere.push(at_members.max(here) - begun);
    }
}

fn measure_all(
    load: &MembershipLoad,
    members: &Members,
    watchers: &mut Watchers,
    on_row: &mut impl FnMut(&MembershipRow),
) -> Result<Vec<MembershipRow>, BenchError> {
    let mut joiners = load
        .daemons
        .iter()
        .map(|address| load.reach.connector(address).connect().map_err(|error| client_error(address, error)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    for size in &load.members {
        let begun = Instant::now();
        members.ask(Change::Fill(*size))?;
        let filling = members.answer()? - begun;
        let (joins, leaves) = measure_size(load, *size, &mut joiners, members)?;
        let row = MembershipRow {
            daemons: load.daemons.len(),
            members: *size,
            filling_ms: filling.as_secs_f64() * 1e3,
            join_here: Spread::of(&joins.here),
            join_everywhere: Spread::of(&joins.everywhere),
            leave_here: Spread::of(&leaves.here),
            leave_everywhere: Spread::of(&leaves.everywhere),
            false_views: watchers.take_views(Duration::ZERO)?,
        };
        on_row(&row);
        rows.push(row);
    }
    Ok(rows)
}

/// How long one more member took to join a group of this size, and to leave it.
fn measure_size(
    load: &MembershipLoad,
    size: usize,
    joiners: &mut [Connection],
    members: &Members,
) -> Result<(Times, Times), BenchError> {
    let (mut joins, mut leaves) = (Times::default(), Times::default());
    let places = load.daemons.iter().zip(0..joiners.len()).cycle();
    for (address, joiner) in places.take(load.rounds) {
        let Some(joiner) = joiners.get_mut(joiner) else { continue };
        let on_error = |source| client_error(address, source);
        members.ask(Change::Await(size + 1))?;
        let begun = Instant::now();
        joiner.join(&*load.group).map_err(on_error)?;
        let is_whole = |event: &Event| matches!(event, Event::View(view) if view.members.len() == size + 1);
        let here = await_event(joiner, address, "a view with the new member", PATIENCE, is_whole)?;
        joins.note(begun, here, members.answer()?);
        members.ask(Change::Await(size))?;
        let begun = Instant::now();
        joiner.leave(&*load.group).map_err(on_error)?;
        let is_gone = |event: &Event| matches!(event, Event::SelfLeave(_));
        let here = await_event(joiner, address, "the word that a member left", PATIENCE, is_gone)?;
        leaves.note(begun, here, members.answer()?);
    }
    Ok((joins, leaves))
}

/// Receives until an event is the `wanted` one; returns when it came.
pub(crate) fn await_event(
    connection: &mut Connection,
    address: &str,
    wanted: &str,
    patience: Duration,
    is_it: impl Fn(&Event) -> bool,
) -> Result<Instant, BenchError> {
    loop {
        match connection.receive_timeout(patience).map_err(|source| client_error(address, source))? {
            Some(event) if is_it(&event) => return Ok(Instant::now()),
            Some(_) => {}
            None => {
                let wanted = format!("{address}: {wanted}");
                return Err(BenchError::Late { wanted, seconds: patience.as_secs() });
            }
        }
    }
}

/// The members: does what is asked and says when it was done, until nobody asks any more.
fn watch(load: &MembershipLoad, wanted: &Receiver<Change>, seen: &Sender<Instant>) -> Result<(), BenchError> {
    let mut crowd = Crowd::new()?;
    for change in wanted {
        let done = match change {
            Change::Fill(members) => fill(&mut crowd, load, members)?,
            Change::Await(members) => crowd.await_views(members, PATIENCE)?,
        };
        if seen.send(done).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Lets members join, those of one daemon after those of another.
fn fill(crowd: &mut Crowd, load: &MembershipLoad, members: usize) -> Result<Instant, BenchError> {
    let first = crowd.len();
    for index in first..members {
        let address = load.daemons.get(index % load.daemons.len()).map_or("", |address| address);
        crowd.connect(address, &load.reach, true)?;
    }
    for index in first..members {
        crowd.request(index, |outbox| outbox.join(&*load.group))?;
    }
    if first >= members { Ok(Instant::now()) } else { crowd.await_views(members, PATIENCE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_a_group_can_not_grow_through_are_refused() {
        for members in [vec![0], vec![5, 3], vec![5, 5]] {
            let daemons = vec!["4803".to_owned()];
            let (reach, group) = (Reach::default(), "g".to_owned());
            let load = MembershipLoad { daemons, reach, group, members, rounds: 1 };
            assert!(matches!(measure_membership(&load, |_| {}), Err(BenchError::Sizes)));
        }
    }

    #[test]
    fn a_spread_has_mean_median_and_end() {
        let times = [1, 2, 9].map(Duration::from_millis);
        assert_eq!(Spread::of(&times), Spread { mean_ms: 4.0, median_ms: 2.0, max_ms: 9.0 });
        assert_eq!(Spread::of(&[1, 2, 4, 9].map(Duration::from_millis)).median_ms, 3.0);
        assert_eq!(Spread::of(&[]), Spread { mean_ms: 0.0, median_ms: 0.0, max_ms: 0.0 });
    }
}
