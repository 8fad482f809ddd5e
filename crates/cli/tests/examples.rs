//! The examples of the client library, with real daemons: they do what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]
#![allow(dead_code, reason = "the main functions of the examples")]

#[path = "../../client/examples/chat.rs"]
mod chat;
#[path = "../../client/examples/election.rs"]
mod election;
#[path = "../../client/examples/kv.rs"]
mod kv;
#[path = "../../client/examples/lock.rs"]
mod lock;
#[path = "../../client/examples/queue.rs"]
mod queue;
mod support;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Cursor, PipeReader, PipeWriter, Write, pipe};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon::{Change, GroupId, GroupName, MemberName, View};
use support::cluster::{Cluster, Layout};
use tokio::net::unix::pipe as async_pipe;
use tokio::runtime::Builder;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

type Outcome = Result<(), Box<dyn Error>>;

/// An example that runs, with its input and output.
struct Program {
    input: PipeWriter,
    lines: Receiver<String>,
    running: JoinHandle<Result<(), String>>,
}

impl Program {
    fn start(run: impl FnOnce(PipeReader, &mut PipeWriter) -> Outcome + Send + 'static) -> Self {
        let (their_input, input) = pipe().expect("a pipe");
        let (output, mut their_output) = pipe().expect("a pipe");
        let running =
            thread::spawn(move || run(their_input, &mut their_output).map_err(|error| error.to_string()));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        Self { input, lines, running }
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    /// Expects these to be the next lines.
    fn prints(&self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.next(), *line);
        }
    }

    /// Ends its input, and lets it end. What it had still printed.
    fn end(self) -> Vec<String> {
        drop(self.input);
        self.running.join().expect("no panic").expect("ended well");
        self.lines.iter().collect()
    }

    /// Lets it end although its input goes on. What it says why.
    fn complaint(self) -> String {
        self.running.join().expect("no panic").expect_err("can not go on")
    }
}

/// What an example says that cannot go on with its input.
fn complaint(run: impl FnOnce() -> Outcome + Send + 'static) -> String {
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(run().map_err(|error| error.to_string())));
    ended.recv_timeout(LIMIT).expect("ended").expect_err("cannot go on")
}

#[test]
fn a_lock_whose_name_is_not_legal_is_refused() {
    let cluster = Cluster::single("");
    let address = cluster.address(0);
    let acquire = Cursor::new(b"acquire\n");
    let said = complaint(move || lock::run(&address, "ann", "my printer", acquire, &mut io::sink()));
    assert!(said.contains("a group name consists of"), "{said}");
}

#[test]
fn examples_end_with_a_word_where_their_input_can_not_be_sent() {
    let cluster = Cluster::single("");
    let address = cluster.address(0);
    let too_long = || Cursor::new(["set key ", &"x".repeat(200_000), "\n"].concat());
    let no_text = Cursor::new(b"a\n\xff\n");
    let (chat, kv) = (address.clone(), address.clone());
    let said = complaint(move || chat::run(&chat, "ann", "long", too_long(), &mut io::sink()));
    assert!(said.contains("bytes"), "{said}");
    let said = complaint(move || chat::run(&address, "bob", "latin", no_text, &mut io::sink()));
    assert!(said.contains("UTF-8"), "{said}");
    let said = complaint(move || kv::run(&kv, "cat", too_long(), &mut io::sink()));
    assert!(said.contains("bytes"), "{said}");
}

#[test]
fn examples_end_with_a_word_when_their_daemon_dies_although_their_input_goes_on() {
    let mut cluster = Cluster::single("");
    let mut locker = locker(&cluster, 0, "lock");
    locker.type_in("acquire");
    locker.prints(&["acquired"]);
    let mut replica = replica(&cluster, 0, "kv");
    has_table(&mut replica, "");
    let (visitor, candidate) = (visitor(&cluster, "chat"), candidate(&cluster, "election"));
    for program in [&visitor, &candidate] {
        program.next();
    }
    let mut worker = worker(&cluster, "queue");
    worker.type_in("job");
    worker.next();
    cluster.kill(0);
    for program in [locker, replica, visitor, candidate, worker] {
        assert_eq!(program.complaint(), "the daemon closed the connection");
    }
}

#[test]
fn visitors_of_a_chat_read_each_other_come_and_go() {
    let cluster = Cluster::single("");
    let mut alice = visitor(&cluster, "alice");
    alice.prints(&["* #alice#localhost came, 1 are here"]);
    let mut bob = visitor(&cluster, "bob");
    for visitor in [&alice, &bob] {
        visitor.prints(&["* #bob#localhost came, 2 are here"]);
    }
    alice.type_in("hello");
    bob.type_in("good evening");
    let heard = |visitor: &Program| [visitor.next(), visitor.next()];
    let by_alice = heard(&alice);
    assert_eq!(by_alice, heard(&bob), "the order differs");
    assert!(by_alice.contains(&"#bob#localhost: good evening".to_owned()), "{by_alice:?}");
    assert!(bob.end().is_empty());
    alice.prints(&["* #bob#localhost hung up, 1 are here"]);
    alice.end();
}

fn visitor(cluster: &Cluster, name: &'static str) -> Program {
    let address = cluster.address(0);
    Program::start(move |input, output| chat::run(&address, name, "garden", BufReader::new(input), output))
}

#[test]
fn the_first_of_a_majority_leads() {
    let cluster = Cluster::single("");
    let stand = |name| candidate(&cluster, name);
    let alice = stand("alice");
    alice.prints(&["nobody leads: 1 of 3 are here"]);
    let bob = stand("bob");
    alice.prints(&["I lead 2"]);
    bob.prints(&["#alice#localhost leads"]);
    let carol = stand("carol");
    carol.prints(&["#alice#localhost leads"]);
    alice.end();
    bob.prints(&["#alice#localhost leads", "I lead 2"]);
    carol.prints(&["#bob#localhost leads"]);
    bob.end();
    carol.prints(&["nobody leads: 1 of 3 are here"]);
    carol.end();
}

fn candidate(cluster: &Cluster, name: &'static str) -> Program {
    let address = cluster.address(0);
    Program::start(move |input, output| election::run(&address, name, 3, BufReader::new(input), output))
}

#[test]
fn a_lock_goes_to_who_waits_longest_also_when_its_holder_is_gone() {
    let cluster = Cluster::single("");
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|name| locker(&cluster, 0, name));
    carol.type_in("acquire");
    carol.prints(&["acquired"]);
    bob.type_in("acquire");
    bob.prints(&["waiting behind 1"]);
    alice.type_in("acquire");
    alice.prints(&["waiting behind 2"]);
    carol.type_in("release");
    carol.prints(&["released"]);
    bob.prints(&["waiting behind 1", "acquired"]);
    alice.prints(&["waiting behind 1"]);
    bob.end();
    alice.prints(&["acquired"]);
    assert!(alice.end().is_empty() && carol.end().is_empty());
}

/// One side may have had a view without the other, and the other none without it.
#[test]
fn two_who_come_together_again_do_not_wait_for_each_other_for_a_lock() {
    let [alice, bob] = ["#alice#n", "#bob#n"].map(|name| MemberName::parse(name.as_bytes()).expect("legal"));
    for vs_sets in [[vec![alice], vec![bob]], [vec![bob], vec![alice]]] {
        let is_free = |me: MemberName, ahead: &[MemberName]| {
            let mut place = lock::Place { me, ahead: ahead.iter().copied().collect() };
            place.on_view(&View {
                group: GroupName::new(b"printer").expect("legal"),
                id: GroupId::default(),
                change: Change::Network,
                members: vec![alice, bob],
                my_index: Some(usize::from(me == bob)),
                vs_sets: vs_sets.to_vec(),
                my_vs_set: usize::from(!vs_sets[0].contains(&me)),
            });
            place.ahead.is_empty()
        };
        let free = [(alice, is_free(alice, &[])), (bob, is_free(bob, &[alice]))];
        let holders: Vec<MemberName> = free.into_iter().filter(|(_, free)| *free).map(|(me, _)| me).collect();
        assert_eq!(holders, vs_sets[0]);
    }
}

fn locker(cluster: &Cluster, host: usize, name: &'static str) -> Program {
    let address = cluster.address(host);
    Program::start(move |input, output| lock::run(&address, name, "printer", BufReader::new(input), output))
}

#[test]
fn a_lock_and_a_table_survive_a_partition_by_their_rules() {
    let cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let (mut alice, mut first) = (locker(&cluster, 0, "alice"), replica(&cluster, 0, "first"));
    alice.type_in("acquire");
    alice.prints(&["acquired"]);
    first.type_in("set a 1");
    has_table(&mut first, "a=1");
    let (mut bob, mut second) = (locker(&cluster, 1, "bob"), replica(&cluster, 1, "second"));
    bob.type_in("acquire");
    bob.prints(&["waiting behind 1"]);
    has_table(&mut second, "a=1");

    cluster.partition(&[&[0], &[1]]);
    bob.prints(&["acquired"]);
    cluster.settle(&[0]);
    first.type_in("set x left");
    first.type_in("set y left");
    has_table(&mut first, "a=1 x=left y=left");
    second.type_in("set x right");
    second.type_in("set z of a right side");
    has_table(&mut second, "a=1 x=right z=of a right side");

    cluster.heal();
    for replica in [&mut first, &mut second] {
        has_table(replica, "a=1 x=right y=left z=of a right side");
    }
    let after: Vec<String> = [alice, bob].into_iter().flat_map(Program::end).collect();
    assert_eq!(after.iter().filter(|line| *line == "lost").count(), 1, "{after:?}");
    assert!(first.end().is_empty() && second.end().is_empty());
}

fn replica(cluster: &Cluster, host: usize, name: &'static str) -> Program {
    let address = cluster.address(host);
    Program::start(move |input, output| kv::run(&address, name, BufReader::new(input), output))
}

#[test]
fn a_table_is_the_same_for_all_who_come_and_go_while_it_is_written() {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let cluster = Cluster::single("");
    for _ in 0..5 {
        let mut replicas: Vec<Program> = Vec::new();
        for name in NAMES {
            replicas.push(replica(&cluster, 0, name));
            for (number, replica) in replicas.iter_mut().enumerate() {
                replica.type_in(&format!("set {number} from {name}"));
            }
        }
        drop(replicas.remove(3).end());
        for (number, replica) in replicas.iter_mut().enumerate() {
            replica.type_in(&format!("set last{number} x"));
            replica.type_in(&format!("get last{number}"));
            replica.prints(&[&format!("last{number} = x")]);
        }
        let tables: Vec<String> = replicas
            .iter_mut()
            .map(|replica| {
                replica.type_in("dump");
                replica.next()
            })
            .collect();
        assert!(tables.iter().all(|table| *table == tables[0]), "{tables:#?}");
        replicas.into_iter().for_each(|replica| assert!(replica.end().is_empty()));
    }
}

/// Waits until a replica has this table.
fn has_table(replica: &mut Program, table: &str) {
    let deadline = Instant::now() + LIMIT;
    loop {
        replica.type_in("dump");
        let printed = replica.next();
        if printed == format!("table: {table}") {
            return;
        }
        assert!(Instant::now() < deadline, "{printed} instead of {table}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_job_is_done_once_by_one_of_the_workers() {
    const JOBS: usize = 40;
    let cluster = Cluster::single("");
    let [mut alice, bob] = ["alice", "bob"].map(|name| worker(&cluster, name));
    // From a job that both have seen on, they see the same.
    loop {
        alice.type_in("begin");
        let line = alice.next();
        let soon = Duration::from_millis(20);
        let mut seen_by_bob = std::iter::from_fn(|| bob.lines.recv_timeout(soon).ok());
        if seen_by_bob.any(|by_bob| by_bob == line) {
            break;
        }
    }
    for number in 0..JOBS {
        alice.type_in(&format!("job {number}"));
    }
    let done = |worker: &Program| (0..JOBS).map(|_| worker.next()).collect::<Vec<_>>();
    let by_alice = done(&alice);
    assert_eq!(by_alice, done(&bob));
    let names: BTreeSet<&str> = by_alice.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names.len(), JOBS, "{by_alice:?}");
    assert!(by_alice.iter().any(|line| line.contains(": JOB 39, by #")), "{by_alice:?}");
    assert!(alice.end().is_empty() && bob.end().is_empty());
}

fn worker(cluster: &Cluster, name: &'static str) -> Program {
    let address = cluster.address(0);
    Program::start(move |input, output| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let input = async_pipe::Receiver::from_owned_fd(OwnedFd::from(input))?;
            queue::run(&address, name, tokio::io::BufReader::new(input), output).await
        })
    })
}
