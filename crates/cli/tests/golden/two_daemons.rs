//! F4 and A0: two daemons that lose each other.

use std::sync::atomic::{AtomicBool, Ordering};

use antiphon::{Change, Connection, Event, ServiceLevel, View};

use super::support::cluster::{Cluster, Layout};
use super::support::golden::{Exchange, Line, Step};
use super::support::raw::{ANSWER_LIMIT, message};
use super::support::replay::Replay;
use super::{JOIN, Outcome, Verdict, expects};

const TRANSITION: u32 = 0x2000;

/// Partitions after which some request has surely fallen between a transition and the next view.
const PARTITIONS: usize = 200;

fn two_daemons() -> Cluster {
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("one", 2), ("two", 3)], "");
    cluster.launch(0);
    cluster.launch(1);
    cluster.settle(&[0, 1]);
    cluster
}

/// Whether the daemon is to announce a transition.
fn expects_transition(line: &Line) -> bool {
    let Step::Expect(bytes) = &line.step else { return false };
    let word = bytes.get(..4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes);
    bytes.len() >= 48 && word & TRANSITION != 0
}

/// F4: only one side was recorded; the other says what the recorded side heard from it.
pub(crate) fn flush_partitioned(exchange: &Exchange) -> Outcome {
    let cluster = two_daemons();
    let mut replay = Replay::new(|_| cluster.raw(0));
    let (alone, rest) = exchange.split(expects("#fb#two"));
    replay.play(alone)?;
    let mut other = cluster.raw(1);
    other.log_in("fb");
    other.send(&message(JOIN, "#fb#two", &["fg"], 0, &[])).expect("written");
    let flushed = 1 + rest.iter().skip(1).position(expects("#fb#two")).expect("its answer");
    replay.play(&rest[..flushed])?;
    for line in rest.iter().skip(flushed).filter(|line| expects("#fb#two")(line)) {
        let Step::Expect(bytes) = &line.step else { continue };
        other.send(bytes).expect("written");
    }
    let parted = rest.iter().position(expects_transition).expect("a partition");
    replay.play(&rest[flushed..parted])?;
    cluster.partition(&[&[0], &[1]]);
    replay.play(&rest[parted..])?;
    replay.finish()?;
    Ok(Verdict::Same)
}

/// A0: a leave that is ordered between the transition and the next view. Which requests fall into
/// that gap is a matter of luck, so it is tried until one does, and the form of the stream is checked and
/// not its bytes.
pub(crate) fn transitional_leave() -> (String, Outcome) {
    let name = Exchange::named("A0").name;
    let cluster = two_daemons();
    let stop = AtomicBool::new(false);
    let mut stayers = [cluster.client(0, "amy"), cluster.client(1, "bob")];
    for stayer in &mut stayers {
        stayer.join("grp").expect("joined");
    }
    stayers.iter_mut().for_each(until_together);
    let seen = std::thread::scope(|scope| {
        // A failed check must end the test, and the scope waits for all of its threads.
        let _stopped = StopOnDrop(&stop);
        for (host, name) in [(0, "t1"), (1, "t2"), (0, "t3"), (1, "t4")] {
            let (cluster, stop) = (&cluster, &stop);
            scope.spawn(move || come_and_go(cluster.client(host, name), stop));
        }
        (0..PARTITIONS).any(|_| part_and_watch(&cluster, &mut stayers) > 0)
    });
    assert!(seen, "no request fell between a transition and the next view in {PARTITIONS} partitions");
    (name, Ok(Verdict::Same))
}

/// Tells the others to stop when the one that holds it returns or panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Joins, sends and leaves over and over.
fn come_and_go(mut connection: Connection, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        connection.join("grp").expect("written");
        connection.multicast(ServiceLevel::Safe, "grp", "m").expect("written");
        connection.leave("grp").expect("written");
        let mut next = || connection.receive_timeout(ANSWER_LIMIT).expect("connected").expect("an answer");
        while !matches!(next(), Event::SelfLeave(_)) {}
    }
}

/// Reads up to a view with members of both daemons. A partition before it would change nothing in the
/// group, and nobody would be told of it.
fn until_together(stayer: &mut Connection) {
    let mut next = || stayer.receive_timeout(ANSWER_LIMIT).expect("connected").expect("a view");
    while !matches!(next(), Event::View(view) if spans(&view)) {}
}

/// Parts the two daemons, reads what the stayers get until they are together again, and counts
/// changes between a transition and the next view.
fn part_and_watch(cluster: &Cluster, stayers: &mut [Connection; 2]) -> usize {
    let streams = |cluster: &Cluster, stayers: &mut [Connection; 2], together: bool| {
        if together {
            cluster.heal()
        } else {
            cluster.partition(&[&[0], &[1]])
        }
        stayers.each_mut().map(|stayer| until_settled(stayer, together))
    };
    let parted = streams(cluster, stayers, false);
    streams(cluster, stayers, true);
    parted.iter().map(|events| check_transitional_changes(events)).sum()
}

/// Reads up to a view that the network caused and that has, or has not, members of both daemons.
fn until_settled(stayer: &mut Connection, together: bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = stayer.receive_timeout(ANSWER_LIMIT).expect("connected").expect("a view");
        let done =
            matches!(&event, Event::View(view) if spans(view) == together && view.change == Change::Network);
        events.push(event);
        if done {
            return events;
        }
    }
}

fn spans(view: &View) -> bool {
    let on = |daemon: &str| view.members.iter().any(|member| member.to_string().ends_with(daemon));
    on("#one") && on("#two")
}

/// Checks the form of what comes from the first transition on, and counts the views in between.
fn check_transitional_changes(events: &[Event]) -> usize {
    let begin = events.iter().position(|event| matches!(event, Event::Transition(_)));
    let stretch = &events[begin.expect("a transition before members are lost")..];
    let mut last_id = events[..begin.unwrap_or_default()].iter().rev().find_map(|event| match event {
        Event::View(view) => Some(view.id),
        _ => None,
    });
    let mut changes = 0;
    for (at, event) in stretch.iter().enumerate() {
        match event {
            Event::Transition(transition) => {
                assert!(last_id.is_none_or(|id| id == transition.id), "a transition names the view it ends");
            }
            Event::View(view) => {
                assert_eq!(view.change, Change::Network, "no other cause in a transitional configuration");
                last_id = Some(view.id);
                if at + 1 == stretch.len() {
                    assert_eq!((view.id.counter, view.vs_sets.len()), (1, 1), "a final view starts a new id");
                    continue;
                }
                changes += 1;
                check_intermediate(view, &stretch[at + 1]);
            }
            Event::Message(message) => assert_eq!(message.service, ServiceLevel::Safe),
            other => panic!("unexpected {other:?}"),
        }
    }
    changes
}

fn check_intermediate(view: &View, next: &Event) {
    assert!(matches!(next, Event::Transition(_)), "an intermediate view is followed by {next:?}");
    assert!(view.id.counter >= 2, "the transitional id counts on from 1");
    assert!(spans(view), "who is unreachable is still listed");
    let last = view.vs_sets.last().expect("sets");
    let mine = &view.members[view.my_index.expect("a member")];
    assert!(!last.contains(mine) && view.vs_sets[view.my_vs_set].contains(mine), "lost daemons come last");
}
