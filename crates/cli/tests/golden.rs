//! Recorded exchanges with a stock daemon, replayed against this one and compared byte for byte.
//!
//! The files, their form and what is not compared: `tests/golden/README.md`. Where this daemon
//! differs on purpose, [`DIFFERENCES`] says so and what is expected instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon::{Cause, Connection, Event, ServiceLevel, View};
use support::cluster::{Cluster, Layout};
use support::golden::{Exchange, Line, Step};
use support::poll;
use support::raw::{ANSWER_LIMIT, Raw, message};
use support::replay::{Difference, Replay, compare};

const JOIN: u32 = 0x10000;
const LEAVE: u32 = 0x20000;
const REG_MEMB: u32 = 0x1000;
const TRANSITION: u32 = 0x2000;

/// Exchanges that run at the same time; most of their time they wait.
const WORKERS: usize = 8;

/// What this daemon does otherwise than the recorded one, on purpose.
const DIFFERENCES: [(&str, &str); 4] = [
    ("14", "waits for the missing bytes of a name, and closes when none come"),
    ("15", "takes the bytes after a name for the beginning of the authentication choice"),
    ("20", "waits for the rest of an authentication choice"),
    ("47b", "delivers messages to 44 to 100 groups"),
];

/// The result for one file.
type Outcome = Result<Verdict, Difference>;

enum Verdict {
    Same,
    /// As [`DIFFERENCES`] says.
    Different(&'static str),
    Skipped(String),
}

#[test]
fn recorded_exchanges_are_answered_as_recorded() {
    let exchanges = Exchange::all();
    let mut outcomes = in_parallel(&exchanges);
    outcomes.append(&mut story());
    outcomes.extend(transitional_leave());
    report(outcomes);
}

/// Prints a line per file, and fails if any differs.
fn report(outcomes: Vec<(String, Outcome)>) {
    let (mut replayed, mut skipped, mut failed) = (0, BTreeMap::<String, usize>::new(), 0);
    let mut sorted = outcomes;
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, outcome) in sorted {
        match outcome {
            Ok(Verdict::Same) => println!("{name}: same"),
            Ok(Verdict::Different(how)) => println!("{name}: differs on purpose: {how}"),
            Ok(Verdict::Skipped(why)) => {
                println!("{name}: skipped: {why}");
                *skipped.entry(why).or_default() += 1;
                continue;
            }
            Err(difference) => {
                println!("{name}: DIFFERS at {difference}");
                failed += 1;
            }
        }
        replayed += 1;
    }
    let reasons: Vec<String> = skipped.iter().map(|(why, count)| format!("{count}: {why}")).collect();
    let count: usize = skipped.values().sum();
    println!("{replayed} golden exchanges replayed, {count} skipped ({})", reasons.join("; "));
    assert_eq!(failed, 0, "{failed} exchanges differ");
}

/// Everything but the story of three daemons, several at a time.
fn in_parallel(exchanges: &[Exchange]) -> Vec<(String, Outcome)> {
    let mut queue: Vec<&Exchange> =
        exchanges.iter().filter(|exchange| !exchange.name.starts_with(['9', 'A'])).collect();
    // The last in the queue is the first to be taken: those that wait for a timeout.
    queue.sort_by_key(|exchange| ["14", "20", "23", "24"].contains(&number(exchange)));
    let (queue, outcomes) = (Mutex::new(queue), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(exchange) = queue.lock().unwrap().pop() else { return };
                    let outcome = one(exchange);
                    outcomes.lock().unwrap().push((exchange.name.clone(), outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// The part of the name before the first underscore.
fn number(exchange: &Exchange) -> &str {
    exchange.name.split('_').next().unwrap_or_default()
}

fn one(exchange: &Exchange) -> Outcome {
    match number(exchange) {
        "04" => plain(exchange, Cluster::raw_unix),
        "14" => incomplete_name(exchange),
        "15" => early_choice(exchange),
        "20" => incomplete_choice(exchange),
        "47b" => many_groups(exchange),
        "70" | "72" => with_access(exchange, "AllowedAuthMethods = \"IP\"\n", "local\n"),
        "71" => with_access(exchange, "AllowedAuthMethods = \"IP\"\n", "local\n"),
        "73" | "74" => with_access(exchange, "AllowedAuthMethods = \"IP\"\n", "10.0.0.0/8\n"),
        "75" => {
            let methods = "AllowedAuthMethods = \"NULL\"\nRequiredAuthMethods = \"IP\"\n";
            with_access(exchange, methods, "10.0.0.0/8\n")
        }
        "76" => with_access(exchange, "AllowedAuthMethods = \"NULL IP\"\n", "local\n"),
        "77" | "78" => with_access(exchange, "RequiredAuthMethods = \"IP\"\n", "local\n"),
        "80" => slow_reader(exchange),
        "81" => quota(exchange),
        "F3" => flush_with_third(exchange),
        "F4" => flush_partitioned(exchange),
        "J1" => java(exchange),
        name if name.starts_with('M') => Ok(Verdict::Skipped("the monitor is not served".to_owned())),
        _ => plain(exchange, Cluster::raw),
    }
}

/// Replays a whole file against a daemon of its own.
fn plain(exchange: &Exchange, open: fn(&Cluster, usize) -> Raw) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| open(&cluster, 0));
    replay.dribble = number(exchange) == "59";
    replay.invented_name = number(exchange) == "03";
    replay.play(&exchange.lines)?;
    replay.finish()?;
    Ok(Verdict::Same)
}

fn difference(exchange: &Exchange) -> Verdict {
    let known = DIFFERENCES.into_iter().find(|(name, _)| *name == number(exchange));
    Verdict::Different(known.expect("listed").1)
}

/// 70–78: the access list lies where the daemon runs.
fn with_access(exchange: &Exchange, directives: &str, access: &str) -> Outcome {
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("localhost", 1)], directives);
    std::fs::write(cluster.home(0).join("spread.access_ip"), access).expect("writable");
    cluster.start(0);
    let mut replay = Replay::new(|_| cluster.raw(0));
    replay.play(&exchange.lines)?;
    replay.finish()?;
    Ok(Verdict::Same)
}

/// 14: a hello that never becomes whole. The stock daemon takes what is there and refuses it.
fn incomplete_name(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| cluster.raw(0));
    replay.play(&without_expected(&exchange.lines))?;
    Ok(difference(exchange))
}

/// 20: an authentication choice that never becomes whole; the answer comes with the end of patience.
fn incomplete_choice(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| cluster.raw(0));
    replay.play(&exchange.lines)?;
    Ok(difference(exchange))
}

/// 15: three bytes more than the name has.
fn early_choice(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| cluster.raw(0));
    let mut lines = without_expected(&exchange.lines);
    lines.retain(|line| line.step != Step::Eof);
    let list = Step::Expect(b"\x05NULL ".to_vec());
    let mut choice = vec![0; 90];
    choice[..4].copy_from_slice(b"NULL");
    // Three bytes of the choice have arrived; they name no known method together with the rest.
    let rest = Step::Send(choice[3..].to_vec());
    let refused = Step::Expect(vec![0xf7]);
    lines.extend([list, rest, refused, Step::Eof].map(after_end));
    replay.play(&lines)?;
    Ok(difference(exchange))
}

/// 47b: 44 and 100 groups reach nobody at the stock daemon, and everybody here.
fn many_groups(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| cluster.raw(0));
    let mut lines = exchange.lines.clone();
    for at in 1..lines.len() {
        if let (Step::Send(sent), Step::Silent(_)) = (lines[at - 1].step.clone(), lines[at].step.clone()) {
            lines[at].step = Step::Expect(sent);
        }
    }
    replay.play(&lines)?;
    replay.finish()?;
    Ok(difference(exchange))
}

fn without_expected(lines: &[Line]) -> Vec<Line> {
    lines.iter().filter(|line| !matches!(line.step, Step::Expect(_))).cloned().collect()
}

fn after_end(step: Step) -> Line {
    Line { number: 0, connection: String::new(), step }
}

/// 80: only what the other member sees of it is recorded.
fn slow_reader(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("MaxSessionMessages = 5\n");
    let mut alice = cluster.raw(0);
    alice.log_in("alice");
    alice.send(&message(JOIN, "#alice#localhost", &["grp"], 0, &[])).expect("written");
    alice.message(ANSWER_LIMIT).expect("a view of one");
    let mut slow = cluster.raw(0);
    slow.socket().set_recv_buffer_size(4096).expect("a small buffer");
    slow.log_in("slow");
    slow.send(&message(JOIN, "#slow#localhost", &["grp"], 0, &[])).expect("written");
    alice.message(ANSWER_LIMIT).expect("a view of two");
    let data = message(0x4, "#alice#localhost", &["grp"], 0, &[0; 10_000]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        alice.send(&data).expect("written");
        let next = alice.message(ANSWER_LIMIT).expect("an echo");
        if next != data {
            let line = exchange.lines.first().expect("one line");
            return compare(line, &next).map(|()| Verdict::Same);
        }
    }
    panic!("a reader that does not read was not cut off");
}

/// 81: whoever comes when all places are taken is refused before it says anything.
fn quota(exchange: &Exchange) -> Outcome {
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("localhost", 1)], "MaxSessions = 3\n");
    cluster.launch(0);
    let refused = poll(Duration::from_secs(10), || {
        let exited = cluster.process_mut(0).exited().map(|_| true);
        exited.or_else(|| Raw::tcp((cluster.ip(0), cluster.port())).ok().map(|_| false))
    });
    if refused != Some(false) {
        return Ok(Verdict::Skipped("the number of sessions can not be limited".to_owned()));
    }
    let mut members: Vec<Raw> = (0..3).map(|_| cluster.raw(0)).collect();
    for (member, name) in members.iter_mut().zip(["a", "b", "c"]) {
        member.log_in(name);
    }
    let mut replay = Replay::new(|_| cluster.raw(0));
    replay.play(&exchange.lines)?;
    Ok(Verdict::Same)
}

/// Whether the daemon is to send a message in which this text occurs.
fn expects(text: &'static str) -> impl Fn(&Line) -> bool {
    move |line| {
        let Step::Expect(bytes) = &line.step else { return false };
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Whether the daemon is to send a message with these bits.
fn expects_flags(flags: u32) -> impl Fn(&Line) -> bool {
    move |line| {
        let Step::Expect(bytes) = &line.step else { return false };
        let word = bytes.get(..4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes);
        bytes.len() >= 48 && word & flags == flags
    }
}

/// F3: the third client's connection was not recorded.
fn flush_with_third(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| cluster.raw(0));
    let (before, rest) = exchange.split(expects("#fc#localhost"));
    replay.play(before)?;
    let mut third = cluster.raw(0);
    third.log_in("fc");
    third.send(&message(JOIN, "#fc#localhost", &["fg"], 0, &[])).expect("written");
    let left = rest.iter().rposition(expects("#fc#localhost")).expect("the end of fc");
    replay.play(&rest[..left])?;
    drop(third);
    replay.play(&rest[left..])?;
    Ok(Verdict::Same)
}

/// F4: only one side was recorded; the other says what the recorded side heard from it.
fn flush_partitioned(exchange: &Exchange) -> Outcome {
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("one", 2), ("two", 3)], "");
    cluster.launch(0);
    cluster.launch(1);
    cluster.settle(&[0, 1]);
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
    let parted = rest.iter().position(expects_flags(TRANSITION)).expect("a partition");
    replay.play(&rest[flushed..parted])?;
    cluster.partition(&[&[0], &[1]]);
    replay.play(&rest[parted..])?;
    Ok(Verdict::Same)
}

/// J1: the little-endian client that joins, sends and leaves was not recorded.
fn java(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| cluster.raw(0));
    let (alone, rest) = exchange.split(expects("#cee#localhost"));
    replay.play(alone)?;
    let mut other = cluster.raw(0);
    other.log_in("cee");
    other.send(&message(JOIN, "#cee#localhost", &["jg"], 0, &[])).expect("written");
    replay.play(&rest[..1])?;
    let Step::Expect(data) = &rest[1].step else { panic!("a message of cee") };
    other.send(data).expect("written");
    replay.play(&rest[1..2])?;
    other.send(&message(LEAVE, "#cee#localhost", &["jg"], 0, &[])).expect("written");
    replay.play(&rest[2..])?;
    Ok(Verdict::Same)
}

const ZETA: usize = 0;
const ALPHA: usize = 1;
const MID: usize = 2;
const EVERYWHERE: [usize; 3] = [ZETA, ALPHA, MID];

/// 90–99: one story of three daemons. What happened between the recorded parts is told here.
fn story() -> Vec<(String, Outcome)> {
    let hosts = [("zeta", 3), ("alpha", 2), ("mid", 4)];
    let cluster = std::cell::RefCell::new(Cluster::new(Layout::OwnSegments, &hosts, ""));
    for host in EVERYWHERE {
        cluster.borrow_mut().launch(host);
    }
    cluster.borrow().settle(&EVERYWHERE);
    let open = |connection: &str| {
        cluster.borrow().raw(match connection {
            "A" | "A2" | "Q" => ALPHA,
            "Z" | "D" => ZETA,
            _ => MID,
        })
    };
    let mut story = Story { replay: Replay::new(open), told: Vec::new() };
    let told = story.tell(&cluster);
    let mut told_of = story.told;
    if let Err(difference) = told {
        told_of.push(difference);
    }
    told_of
}

/// A replay that goes through several files.
struct Story<'a> {
    replay: Replay<'a>,
    told: Vec<(String, Outcome)>,
}

impl Story<'_> {
    fn tell(&mut self, cluster: &std::cell::RefCell<Cluster>) -> Result<(), (String, Outcome)> {
        self.part("90")?;
        self.part("91")?;
        self.join("A", "#amy#alpha", "onlyalpha", &["A"]);
        self.join("A", "#amy#alpha", "midalpha", &["A"]);
        self.join("M", "#max#mid", "midalpha", &["A", "M"]);
        cluster.borrow_mut().kill(MID);
        self.part("92")?;
        cluster.borrow_mut().launch(MID);
        self.replay.close("M");
        cluster.borrow().settle(&EVERYWHERE);
        self.part("93")?;
        self.join("M", "#max#mid", "midalpha", &["A", "M"]);
        cluster.borrow().partition(&[&[ZETA, ALPHA], &[MID]]);
        self.part("94")?;
        self.part("95")?;
        cluster.borrow().heal();
        self.part("96")?;
        self.merge_of_three(&cluster.borrow());
        self.part("97")?;
        self.quiet_joins(&cluster.borrow());
        self.part("99")
    }

    fn part(&mut self, prefix: &str) -> Result<(), (String, Outcome)> {
        let exchange = Exchange::named(prefix);
        match self.replay.play(&exchange.lines) {
            Ok(()) => self.told.push((exchange.name, Ok(Verdict::Same))),
            Err(difference) => return Err((exchange.name, Err(difference))),
        }
        Ok(())
    }

    /// A client joins, and the members take notice.
    fn join(&mut self, connection: &str, name: &str, group: &str, members: &[&str]) {
        self.replay.raw(connection).send(&message(JOIN, name, &[group], 0, &[])).expect("written");
        for member in members {
            let view = self.replay.raw(member).message(ANSWER_LIMIT).expect("a view");
            assert!(view[4..].starts_with(group.as_bytes()), "a view of {group}");
        }
    }

    /// Splits the daemons into three and heals the network, until they merge in one step. What the
    /// clients then received is left for the replay.
    fn merge_of_three(&mut self, cluster: &Cluster) {
        const MEMBERS: [(&str, u32); 6] = [("A", 2), ("A2", 2), ("Z", 2), ("D", 2), ("M", 2), ("B", 2)];
        for _ in 0..10 {
            cluster.partition(&[]);
            for (connection, members) in MEMBERS {
                self.until_view(connection, "grp", members);
            }
            self.until_view("A", "midalpha", 1);
            self.until_view("M", "midalpha", 1);
            cluster.heal();
            let mut steps = 0;
            let mut received = Vec::new();
            for (connection, _) in MEMBERS {
                let frames = self.until_view(connection, "grp", 6);
                steps = steps.max(frames.len());
                received.push((connection, frames.concat()));
            }
            if steps == 1 {
                for (connection, bytes) in received {
                    self.replay.raw(connection).put_back(&bytes);
                }
                return;
            }
            self.until_view("A", "midalpha", 2);
            self.until_view("M", "midalpha", 2);
        }
        panic!("three daemons never merged in one step");
    }

    /// `quiet` joins, and a passing partition gives the group a new id.
    fn quiet_joins(&mut self, cluster: &Cluster) {
        const ALL: [&str; 6] = ["A", "A2", "Z", "D", "M", "B"];
        let mut quiet = cluster.raw(ALPHA);
        quiet.log_in("quiet");
        quiet.send(&message(JOIN, "#quiet#alpha", &["grp"], 0, &[])).expect("written");
        for connection in ALL {
            self.until_view(connection, "grp", 7);
        }
        cluster.partition(&[&[ZETA, ALPHA], &[MID]]);
        for (connection, members) in ALL.into_iter().zip([5, 5, 5, 5, 2, 2]) {
            self.until_view(connection, "grp", members);
        }
        cluster.heal();
        for connection in ALL {
            self.until_view(connection, "grp", 7);
        }
        self.until_view("A", "midalpha", 2);
        self.until_view("M", "midalpha", 2);
        // The session stays, as it did when the rest was recorded.
        self.replay.keep("Q", quiet);
    }

    /// Reads up to a view of a group with so many members; returns all that was read.
    fn until_view(&mut self, connection: &str, group: &str, members: u32) -> Vec<Vec<u8>> {
        let mut read = Vec::new();
        loop {
            let Some(message) = self.replay.raw(connection).message(ANSWER_LIMIT) else {
                panic!(
                    "{connection} got no view of {group} with {members} members but {} others",
                    read.len()
                );
            };
            let word = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().expect("four bytes"));
            let name = [group.as_bytes(), &[0]].concat();
            let found = word(0) & REG_MEMB != 0 && message[4..].starts_with(&name) && word(36) == members;
            read.push(message);
            if found {
                return read;
            }
        }
    }
}

/// A0: a leave that is ordered between the transition and the next view. Which requests fall into
/// that gap is a matter of luck, so the form of the stream is checked and not its bytes.
fn transitional_leave() -> Vec<(String, Outcome)> {
    let name = Exchange::named("A0").name;
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("one", 2), ("two", 3)], "");
    cluster.launch(0);
    cluster.launch(1);
    cluster.settle(&[0, 1]);
    let stop = AtomicBool::new(false);
    let mut stayers = [cluster.client(0, "amy"), cluster.client(1, "bob")];
    for stayer in &mut stayers {
        stayer.join("grp").expect("joined");
    }
    let seen = std::thread::scope(|scope| {
        for (host, name) in [(0, "t1"), (1, "t2"), (0, "t3"), (1, "t4")] {
            let (cluster, stop) = (&cluster, &stop);
            scope.spawn(move || come_and_go(cluster.client(host, name), stop));
        }
        let seen = (0..12).map(|_| part_and_watch(&cluster, &mut stayers)).sum::<usize>();
        stop.store(true, Ordering::Relaxed);
        seen
    });
    let verdict = match seen {
        0 => Verdict::Skipped("no request fell between a transition and the next view".to_owned()),
        _ => Verdict::Same,
    };
    vec![(name, Ok(verdict))]
}

/// Joins, sends and leaves over and over.
fn come_and_go(mut connection: Connection, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        connection.join("grp").expect("written");
        connection.multicast(ServiceLevel::Safe, "grp", "m").expect("written");
        connection.leave("grp").expect("written");
        while !matches!(connection.receive().expect("connected"), Event::SelfLeave(_)) {}
    }
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
            matches!(&event, Event::View(view) if spans(view) == together && view.cause == Cause::Network);
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
                assert_eq!(view.cause, Cause::Network, "no other cause in a transitional configuration");
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
