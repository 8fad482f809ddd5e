//! Daemons among attackers: two clients exchange messages through two daemons while others send
//! bytes of every sort to all of their ports.
//!
//! Strangers speak to the clients' ports, and to the daemons' ports with datagrams that no member of
//! the cluster could have sent; nobody may notice them. An insider knows the cluster's hash and hears
//! what the daemons say to a member that is not there, and sends it back changed. Datagrams carry no
//! proof of their origin, so an insider can break up the ring; what it cannot do is to crash a
//! daemon, to fill its memory or to keep the daemons from each other once it stops.
//!
//! `ANTIPHON_NIGHTLY=1` makes the attacks longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use antiphon::{Connection, Event, Sender, ServiceLevel};
use antiphon_hostile::samples::datagrams;
use antiphon_wire::client::flags::{JOIN, KILL, LEAVE};
use antiphon_wire::client::frame::put_frame;
use antiphon_wire::client::handshake::{AuthChoice, Hello as ClientHello, Version};
use antiphon_wire::client::header::Hint;
use antiphon_wire::ids::ClusterHash;
use antiphon_wire::names::{GroupName, MemberName, PrivateName};
use bytes::BytesMut;
use support::cluster::{Cluster, Layout};
use support::raw::{ANSWER_LIMIT, Raw};
use support::{PROGRAM, nightly, wait_until};

/// By how much a daemon may grow while it is attacked.
const GROWTH_KIB: u64 = 64 * 1024;
/// Descriptors that may be open for a moment longer than their clients.
const SPARE_DESCRIPTORS: usize = 4;
/// Connections of which something was sent that each attacker holds open, and as many silent ones.
const HELD: usize = 100;
/// Between two messages of an honest client.
const HONEST_PAUSE: Duration = Duration::from_millis(4);
/// Between two connections of an attacker, and between two of its volleys of datagrams.
const ATTACK_PAUSE: Duration = Duration::from_millis(5);
const DATAGRAMS: usize = 4;
/// Where the third daemon of the configuration would be.
const ABSENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 23);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 24);

fn duration() -> Duration {
    Duration::from_secs(if nightly() { 60 } else { 8 })
}

#[test]
fn strangers_go_unnoticed() {
    let scene = Scene::new();
    let (cluster, stop) = (&scene.cluster, &AtomicBool::new(false));
    thread::scope(|scope| {
        let traffic = Traffic::start(scope, cluster);
        let before = scene.warm_up(&traffic);
        for host in 0..2 {
            scope.spawn(move || attack_client_ports(cluster, host, stop));
            scope.spawn(move || attack_daemon_ports(cluster, host, None, stop));
        }
        scene.watch(&before);
        stop.store(true, Ordering::Relaxed);
        let (here, there) = traffic.finish();
        assert_eq!(here.len(), there.len());
        assert!(here == there, "the two received the same messages in different orders");
        println!("{} honest messages", here.len());
        scene.assert_calm(&before);
        scene.assert_logged(&["connected as", "refused: ", "it broke the protocol"]);
        scene.assert_logged(&["did not finish the handshake in time", "hash 0badcafe) is heard and ignored"]);
    });
}

#[test]
fn an_insider_does_no_lasting_harm() {
    let scene = Scene::new();
    let (cluster, stop) = (&scene.cluster, &AtomicBool::new(false));
    let before = scene.weigh();
    let hash = cluster_hash(cluster);
    thread::scope(|scope| {
        for host in 0..2 {
            scope.spawn(move || attack_daemon_ports(cluster, host, Some(hash), stop));
        }
        scope.spawn(move || echo_changed(cluster, stop));
        scene.watch(&before);
        stop.store(true, Ordering::Relaxed);
    });
    cluster.settle(&[0, 1]);
    scene.assert_calm(&before);
    scene.assert_logged(&["says that it is"]);
    thread::scope(|scope| {
        let traffic = Traffic::start(scope, cluster);
        thread::sleep(Duration::from_secs(1));
        let (here, there) = traffic.finish();
        assert!(!here.is_empty() && here == there);
    });
}

/// Memory in KiB and descriptors of each daemon.
type Weights = [(u64, usize); 2];

struct Scene {
    cluster: Cluster,
}

impl Scene {
    fn new() -> Self {
        let hosts = [("alfa", 21), ("bravo", 22), ("absent", 23)];
        let mut cluster = Cluster::new(Layout::OwnSegments, &hosts, "");
        cluster.launch(0);
        cluster.launch(1);
        cluster.settle(&[0, 1]);
        Self { cluster }
    }

    fn weigh(&self) -> Weights {
        [0, 1].map(|host| {
            let process = self.cluster.process(host);
            (process.resident_kib(), process.descriptors())
        })
    }

    /// Weighs when the buffers for honest work are there.
    fn warm_up(&self, traffic: &Traffic<'_>) -> Weights {
        let enough = || traffic.received() > 500;
        wait_until("honest messages flow", ANSWER_LIMIT, enough);
        self.weigh()
    }

    /// Lets the attack go on, and sees that the daemons bear it.
    fn watch(&self, before: &Weights) {
        let end = Instant::now() + duration();
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(200));
            self.assert_small(before);
        }
    }

    fn assert_small(&self, before: &Weights) {
        for (host, (kib, _)) in before.iter().enumerate() {
            let now = self.cluster.process(host).resident_kib();
            let name = self.cluster.name(host);
            assert!(now < kib + GROWTH_KIB, "{name} grew from {kib} to {now} KiB");
        }
    }

    /// An attack that does not get far shows nothing.
    fn assert_logged(&self, effects: &[&str]) {
        for host in 0..2 {
            let log = self.cluster.process(host).log();
            for effect in effects {
                println!("{}: {} times: {effect}", self.cluster.name(host), log.matches(effect).count());
                assert!(log.contains(effect), "no attack had this effect: {effect}");
            }
        }
    }

    /// After the attack, everything is as before.
    fn assert_calm(&self, before: &Weights) {
        for (host, (kib, descriptors)) in before.iter().enumerate() {
            let process = self.cluster.process(host);
            let log = process.log();
            assert!(!log.contains("panicked"), "{log}");
            wait_until("the attackers' descriptors are closed", ANSWER_LIMIT, || {
                process.descriptors() <= descriptors + SPARE_DESCRIPTORS
            });
            let now = (process.resident_kib(), process.descriptors());
            println!("{}: {kib} KiB, {descriptors} descriptors; then {now:?}", self.cluster.name(host));
        }
        self.assert_small(before);
    }
}

/// What one honest client received: who sent it and the how-manieth of that sender it is.
type Received = Vec<(MemberName, u64)>;

/// Two clients that send to a group until they are told to stop, and check what they receive.
struct Traffic<'scope> {
    stop: &'static AtomicBool,
    received: [&'static AtomicU64; 2],
    clients: [thread::ScopedJoinHandle<'scope, Received>; 2],
}

impl<'scope> Traffic<'scope> {
    fn start<'env>(scope: &'scope Scope<'scope, 'env>, cluster: &'env Cluster) -> Self {
        // Lives as long as the threads, which the compiler cannot see.
        let stop: &'static AtomicBool = Box::leak(Box::default());
        let received: [&'static AtomicU64; 2] = [Box::leak(Box::default()), Box::leak(Box::default())];
        let clients = [0, 1].map(|host| {
            let mut connection = cluster.client(host, "honest");
            connection.join("honest").expect("joined");
            let counter = received[host];
            scope.spawn(move || exchange(connection, stop, counter))
        });
        Self { stop, received, clients }
    }

    /// How much the slower of the two has received.
    fn received(&self) -> u64 {
        self.received.map(|counter| counter.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0)
    }

    fn finish(self) -> (Received, Received) {
        self.stop.store(true, Ordering::Relaxed);
        let [here, there] = self.clients.map(|client| client.join().expect("honest messages came"));
        (here, there)
    }
}

/// Sends numbers, ends with an empty message, and receives until both have ended.
fn exchange(mut connection: Connection, stop: &AtomicBool, counter: &AtomicU64) -> Received {
    wait_until("both are in the group", ANSWER_LIMIT, || {
        let event = connection.receive_timeout(Duration::from_millis(1)).expect("connected");
        matches!(event, Some(Event::View(view)) if view.members.len() == 2)
    });
    let (sender, mut receiver) = connection.split();
    let sends = |mut sender: Sender| {
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            sender.multicast(ServiceLevel::Agreed, "honest", number.to_string()).expect("sent");
            number += 1;
            thread::sleep(HONEST_PAUSE);
        }
        sender.multicast(ServiceLevel::Agreed, "honest", "").expect("sent");
        sender
    };
    let (mut all, mut next, mut ended) = (Received::new(), BTreeMap::<MemberName, u64>::new(), 0);
    thread::scope(|scope| {
        // The session ends with the sender, which therefore stays until everything is here.
        let sending = scope.spawn(move || sends(sender));
        while ended < 2 {
            match receiver.receive_timeout(ANSWER_LIMIT).expect("connected").expect("more messages") {
                Event::Message(message) if message.body.is_empty() => ended += 1,
                Event::Message(message) => {
                    let number = next.entry(message.sender).or_default();
                    assert_eq!(message.body, number.to_string(), "out of order or lost: {message:?}");
                    all.push((message.sender, *number));
                    *number += 1;
                    counter.store(all.len() as u64, Ordering::Relaxed);
                }
                other => panic!("the group changed: {other:?}"),
            }
        }
        sending.join().expect("no panic")
    });
    all
}

/// Opens connections of every bad sort at the TCP port and at the Unix socket.
fn attack_client_ports(cluster: &Cluster, host: usize, stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(host as u64);
    let (address, socket) = ((cluster.ip(host), cluster.port()), unix_socket(cluster, host));
    let (mut held, mut silent) = (VecDeque::<Raw>::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let raw = if random.bool() { Raw::tcp(address) } else { Raw::unix(&socket) };
        let mut raw = raw.expect("the daemon listens");
        let valid = client_stream(&mut random, cluster.name(host));
        let bytes = match random.u8(0..4) {
            0 => (0..random.usize(1..3000)).map(|_| random.u8(..)).collect(),
            1 => Vec::new(),
            // A good start and a bad end, so that the session itself is reached.
            2 => changed(&valid, 100, &mut random),
            _ => changed(&valid, 0, &mut random),
        };
        // The daemon may have closed already; whoever does not read its answers is not told.
        for piece in bytes.chunks(random.usize(1..2000)) {
            let _ = raw.send(piece);
        }
        if bytes.is_empty() && silent.len() < HELD {
            silent.push(raw);
            continue;
        }
        held.push_back(raw);
        let keep = if random.u8(..) == 0 { 0 } else { HELD };
        held.drain(..held.len().saturating_sub(keep));
        thread::sleep(ATTACK_PAUSE);
    }
}

fn unix_socket(cluster: &Cluster, host: usize) -> PathBuf {
    cluster.home(host).join(cluster.port().to_string())
}

/// Everything that a client of some name may say, in one piece.
fn client_stream(random: &mut fastrand::Rng, daemon: &str) -> Vec<u8> {
    let name = format!("x{}", random.u16(..));
    let hello = ClientHello {
        version: Version { major: 4, minor: 4, patch: 0 },
        wants_membership: random.bool(),
        priority: 0,
        name: Some(PrivateName::new(name.as_bytes()).expect("legal")),
    };
    let me = MemberName::parse(format!("#{name}#{daemon}").as_bytes()).expect("legal");
    let prey = GroupName::new(b"prey").expect("legal");
    let other = GroupName::new(name.as_bytes()).expect("legal");
    let mut out = BytesMut::new();
    out.extend_from_slice(&hello.encode());
    out.extend_from_slice(&AuthChoice::new(&["NULL"]).encode());
    let mut say = |flags: u32, groups: &[GroupName], body: &[u8]| {
        let fields = groups.iter().map(GroupName::as_field);
        put_frame(&mut out, flags, me.as_field(), Hint::new(7), fields, body);
    };
    say(JOIN, &[prey], b"");
    for _ in 0..random.usize(1..5) {
        let body = vec![random.u8(..); random.usize(0..2000)];
        say(1 << random.u8(0..6), &[prey, other], &body);
    }
    say(LEAVE, &[prey], b"");
    say(KILL, &[], b"");
    out.to_vec()
}

/// Cuts, flips, repeats and inserts, beginning at `from` or later.
fn changed(valid: &[u8], from: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(from.min(bytes.len())..=bytes.len());
        match random.u8(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 if bytes.len() < 10_000 => bytes.extend_from_within(at..),
            3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
            4 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(0..8)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.u8(..)),
        }
    }
    bytes
}

/// Sends datagrams to both UDP ports: noise, and datagrams of every kind, whole and changed. Without
/// the cluster's hash they have another one.
fn attack_daemon_ports(cluster: &Cluster, host: usize, hash: Option<ClusterHash>, stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(100 + host as u64);
    let socket = UdpSocket::bind((STRANGER, 0)).expect("a loopback address");
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..DATAGRAMS {
            let samples = datagrams(&mut random, hash.unwrap_or(ClusterHash(0x0bad_cafe)));
            let sample = random.choice(&samples).expect("some");
            let bytes = match random.u8(0..4) {
                0 => (0..random.usize(0..1500)).map(|_| random.u8(..)).collect(),
                1 => sample.to_vec(),
                _ if hash.is_some() => changed(sample, 0, &mut random),
                // The hash stays wrong, whatever else changes.
                _ => changed(sample, 8, &mut random),
            };
            let port = cluster.port() + random.u16(0..2);
            let _ = socket.send_to(&bytes, (cluster.ip(host), port));
        }
        thread::sleep(ATTACK_PAUSE);
    }
}

/// In the place of the absent daemon, sends what it hears to either daemon, as it is or changed.
fn echo_changed(cluster: &Cluster, stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(200);
    let ports = [cluster.port(), cluster.port() + 1];
    let sockets = ports.map(|port| UdpSocket::bind((ABSENT, port)).expect("the place of the absent daemon"));
    let (mut heard, mut total) = (VecDeque::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        for socket in &sockets {
            socket.set_nonblocking(true).expect("settable");
            let mut buffer = [0; 65_536];
            while let Ok(length) = socket.recv(&mut buffer) {
                total += 1;
                heard.push_back(buffer[..length].to_vec());
            }
        }
        heard.drain(..heard.len().saturating_sub(200));
        for _ in 0..DATAGRAMS.min(heard.len()) {
            let original = &heard[random.usize(..heard.len())];
            let bytes = if random.bool() { original.clone() } else { changed(original, 0, &mut random) };
            let to = (cluster.ip(random.usize(..2)), ports[random.usize(..2)]);
            let _ = sockets[0].send_to(&bytes, to);
        }
        thread::sleep(ATTACK_PAUSE);
    }
    println!("the insider heard {total} datagrams");
    assert!(total > 0, "the daemons never asked for the absent one");
}

/// The hash that the program itself tells.
fn cluster_hash(cluster: &Cluster) -> ClusterHash {
    let mut args = cluster.daemon_args(0);
    args.push("--check".to_owned());
    let output = Command::new(PROGRAM).args(args).output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let hash = text.split("hash ").nth(1).and_then(|rest| rest.get(..8)).expect("a hash");
    ClusterHash(u32::from_str_radix(hash, 16).expect("a number"))
}
