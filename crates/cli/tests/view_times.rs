//! How long real processes take to see a change, measured on demand:
//! `cargo test --release --package antiphon-cli --test view_times -- --ignored --nocapture`.
//!
//! Every daemon serves one client, all in one group. A time is from the cause to the moment at which
//! the last client concerned has read its new view. Stalls must cause none; how many did is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Connection, Event};
use rustix::process::Signal;
use support::cluster::{Cluster, Layout};

const GROUP: &str = "views";
const ROUNDS: usize = 10;
const STALLS: usize = 20;
/// More than any change takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A client read a view: of which daemon's, when, and with how many members.
struct Seen {
    host: usize,
    at: Instant,
    members: usize,
}

struct Bench {
    cluster: Cluster,
    seen: Receiver<Seen>,
    report: Sender<Seen>,
    random: fastrand::Rng,
}

impl Bench {
    fn new(daemons: u8) -> Self {
        let cluster = Cluster::running(Layout::OwnSegments, daemons, "");
        let (report, seen) = channel();
        let bench = Self { cluster, seen, report, random: fastrand::Rng::with_seed(7) };
        for host in 0..bench.count() {
            bench.join(host);
        }
        bench.wait_for_all(bench.count());
        bench
    }

    fn count(&self) -> usize {
        self.cluster.count()
    }

    /// A client of a daemon, which reports its views until the daemon is gone.
    fn join(&self, host: usize) {
        let mut connection = self.cluster.connector(host, "c").connect().expect("the daemon accepts clients");
        connection.join(GROUP).expect("the connection is open");
        let report = self.report.clone();
        thread::spawn(move || report_views(host, &mut connection, &report));
    }

    /// Waits until the last view of each of these hosts has that many members; returns when the last
    /// of them read it.
    fn wait_for(&self, hosts: &[usize], members: usize) -> Instant {
        let mut done: Vec<Option<Instant>> = vec![None; self.count()];
        while hosts.iter().any(|host| done[*host].is_none()) {
            let seen = self.seen.recv_timeout(LIMIT).expect("a view");
            done[seen.host] = (seen.members == members).then_some(seen.at);
        }
        hosts.iter().filter_map(|host| done[*host]).max().unwrap()
    }

    fn wait_for_all(&self, members: usize) -> Instant {
        let all: Vec<usize> = (0..self.count()).collect();
        self.wait_for(&all, members)
    }

    /// Lets the ring come to rest, and forgets what was seen.
    fn rest(&mut self) {
        thread::sleep(Duration::from_millis(self.random.u64(400..700)));
        while self.seen.try_recv().is_ok() {}
    }

    /// From the end of a daemon to the view of the others.
    fn end(&mut self, cleanly: bool) -> Duration {
        self.rest();
        let host = self.random.usize(..self.count());
        let others: Vec<usize> = (0..self.count()).filter(|other| *other != host).collect();
        let since = Instant::now();
        if cleanly {
            self.cluster.signal(host, Signal::TERM);
        } else {
            self.cluster.kill(host);
        }
        let time = self.wait_for(&others, self.count() - 1).duration_since(since);
        if cleanly {
            self.cluster.process_mut(host).wait(LIMIT);
        }
        self.cluster.start(host);
        self.join(host);
        self.wait_for_all(self.count());
        time
    }

    /// From the end of a partition to the view of all.
    fn heal(&mut self) -> Duration {
        self.rest();
        let cut = self.random.usize(1..self.count());
        let all: Vec<usize> = (0..self.count()).collect();
        self.cluster.partition(&[&all[..cut], &all[cut..]]);
        self.wait_for(&all[..cut], cut);
        self.rest();
        let since = Instant::now();
        self.cluster.heal();
        self.wait_for_all(self.count()).duration_since(since)
    }

    /// Whether a stall of one process for less than the time of a lost token was taken for its end.
    fn stall(&mut self) -> bool {
        self.rest();
        let host = self.random.usize(..self.count());
        self.cluster.signal(host, Signal::STOP);
        thread::sleep(Duration::from_millis(self.random.u64(10..190)));
        self.cluster.signal(host, Signal::CONT);
        thread::sleep(Duration::from_millis(500));
        self.views() > 0
    }

    /// Views that came while twice as many threads as cores did nothing but work.
    fn oversubscribe(&mut self) -> usize {
        self.rest();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = thread::available_parallelism().map_or(2, usize::from) * 2;
        let burners: Vec<_> = (0..threads)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
            })
            .collect();
        thread::sleep(Duration::from_secs(10));
        stop.store(true, Ordering::Relaxed);
        burners.into_iter().for_each(|burner| burner.join().unwrap());
        self.views()
    }

    fn views(&self) -> usize {
        self.seen.try_iter().count()
    }
}

fn report_views(host: usize, connection: &mut Connection, report: &Sender<Seen>) {
    while let Ok(event) = connection.receive() {
        let Event::View(view) = event else { continue };
        if report.send(Seen { host, at: Instant::now(), members: view.members.len() }).is_err() {
            return;
        }
    }
}

fn row(what: &str, daemons: u8, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!(
        "| {what} | {daemons} | {:.0} | {:.0} | {:.0} |",
        ms(0),
        ms(times.len() / 2),
        ms(times.len() - 1)
    );
}

#[test]
#[ignore = "a measurement"]
fn view_times() {
    println!("| milliseconds | daemons | min | median | max |\n|---|---|---|---|---|");
    for daemons in [2, 4, 8, 16] {
        let mut bench = Bench::new(daemons);
        row("crash to view", daemons, (0..ROUNDS).map(|_| bench.end(false)).collect());
        row("leave to view", daemons, (0..ROUNDS).map(|_| bench.end(true)).collect());
        row("heal to merged view", daemons, (0..ROUNDS).map(|_| bench.heal()).collect());
        let stalls = (0..STALLS).filter(|_| bench.stall()).count();
        let busy = bench.oversubscribe();
        println!("{daemons} daemons: {stalls} of {STALLS} stalls and {busy} views while oversubscribed");
    }
}
