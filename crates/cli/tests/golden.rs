//! Recorded exchanges with a stock daemon, replayed against this one and compared byte for byte.
//!
//! The files, their form and what is not compared: `tests/golden/README.md`. Where this daemon
//! differs on purpose, the report says how.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "golden/monitor.rs"]
mod monitor;
#[path = "golden/story.rs"]
mod story;
mod support;
#[path = "golden/two_daemons.rs"]
mod two_daemons;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::cluster::{Cluster, Layout};
use support::golden::{Exchange, Line, Step};
use support::poll;
use support::raw::{ANSWER_LIMIT, Raw, message};
use support::replay::{Difference, Replay, compare};

const JOIN: u32 = 0x10000;
const LEAVE: u32 = 0x20000;

/// Files that no single daemon answers: [`story::tell`] and [`two_daemons::transitional_leave`] do.
const IN_STORIES: [&str; 10] = ["90", "91", "92", "93", "94", "95", "96", "97", "99", "A0"];

/// Exchanges that run at the same time; most of their time they wait.
const WORKERS: usize = 8;

/// The result for one file.
type Outcome = Result<Verdict, Difference>;

enum Verdict {
    Same,
    /// Otherwise on purpose, and how.
    Different(&'static str),
}

#[test]
fn recorded_exchanges_are_answered_as_recorded() {
    let exchanges = Exchange::all();
    let outcomes = std::thread::scope(|scope| {
        // Most of the time of the single daemons is waiting for timeouts.
        let single = scope.spawn(|| in_parallel(&exchanges));
        let mut outcomes = story::tell();
        outcomes.push(two_daemons::transitional_leave());
        outcomes.extend(single.join().expect("no panic"));
        outcomes
    });
    let mut told: Vec<&str> = outcomes.iter().map(|(name, _)| name.as_str()).collect();
    told.sort_unstable();
    let all: Vec<&str> = exchanges.iter().map(|exchange| exchange.name.as_str()).collect();
    // A story goes no further than its first difference, which is the better message.
    report(&outcomes);
    assert_eq!(told, all, "each file has one outcome");
}

/// Prints a line per file, and fails if any differs.
fn report(outcomes: &[(String, Outcome)]) {
    let mut failed = 0;
    let mut sorted: Vec<_> = outcomes.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, outcome) in sorted {
        match outcome {
            Ok(Verdict::Same) => println!("{name}: same"),
            Ok(Verdict::Different(how)) => println!("{name}: differs on purpose: {how}"),
            Err(difference) => {
                println!("{name}: DIFFERS at {difference}");
                failed += 1;
            }
        }
    }
    println!("{} golden exchanges replayed", outcomes.len());
    assert_eq!(failed, 0, "{failed} exchanges differ");
}

/// Everything but the story of three daemons, several at a time.
fn in_parallel(exchanges: &[Exchange]) -> Vec<(String, Outcome)> {
    let mut queue: Vec<&Exchange> =
        exchanges.iter().filter(|exchange| !IN_STORIES.contains(&number(&exchange.name))).collect();
    // The last in the queue is the first to be taken: those that wait for a timeout.
    queue.sort_by_key(|exchange| ["14", "20", "23", "24"].contains(&number(&exchange.name)));
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
fn number(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

fn one(exchange: &Exchange) -> Outcome {
    match number(&exchange.name) {
        "04" => plain(exchange, Cluster::raw_unix),
        "47b" => many_groups(exchange),
        "52" => member_order(exchange),
        "70" | "71" | "72" => with_access(exchange, "AllowedAuthMethods = \"IP\"\n", "local\n"),
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
        "F4" => two_daemons::flush_partitioned(exchange),
        "J1" => java(exchange),
        name if name.starts_with('M') => monitor::replay(exchange),
        _ => plain(exchange, Cluster::raw),
    }
}

/// Replays a whole file against a daemon of its own.
fn plain(exchange: &Exchange, open: fn(&Cluster, usize) -> Raw) -> Outcome {
    let cluster = Cluster::single("");
    let mut replay = Replay::new(|_| open(&cluster, 0));
    replay.dribble = number(&exchange.name) == "59";
    replay.invented_name = number(&exchange.name) == "03";
    replay.play(&exchange.lines)?;
    replay.finish()?;
    Ok(Verdict::Same)
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

/// 52: the four members that were there before the recorded one.
fn member_order(exchange: &Exchange) -> Outcome {
    let cluster = Cluster::single("");
    let mut members = Vec::new();
    for name in ["zed", "Bob", "amy", "$1"] {
        let mut member = cluster.raw(0);
        member.log_in(name);
        let sender = format!("#{name}#localhost");
        member.send(&message(JOIN, &sender, &["grp"], 0, &[])).expect("written");
        member.message(ANSWER_LIMIT).expect("a view");
        members.push(member);
    }
    let mut replay = Replay::new(|_| cluster.raw(0));
    replay.play(&exchange.lines)?;
    replay.finish()?;
    Ok(Verdict::Same)
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
    Ok(Verdict::Different("delivers messages to 44 to 100 groups"))
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
    // The connection that finds the daemon up takes the first place itself.
    let first = poll(Duration::from_secs(20), || Raw::tcp((cluster.ip(0), cluster.port())).ok());
    let mut members = [first.expect("the daemon accepts clients"), cluster.raw(0), cluster.raw(0)];
    for (member, name) in members.iter_mut().zip(["a", "b", "c"]) {
        member.log_in(name);
    }
    let mut replay = Replay::new(|_| cluster.raw(0));
    replay.play(&exchange.lines)?;
    replay.finish()?;
    Ok(Verdict::Same)
}

/// Whether the daemon is to send a message in which this text occurs.
fn expects(text: &'static str) -> impl Fn(&Line) -> bool {
    move |line| {
        let Step::Expect(bytes) = &line.step else { return false };
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
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
    replay.finish()?;
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
    replay.finish()?;
    Ok(Verdict::Same)
}
