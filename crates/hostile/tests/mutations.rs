//! Seeded mutations of real exchanges, fed to everything that reads bytes from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use antiphon_hostile::{
    CLUSTER, client, configuration, datagram_step, datagrams, library, monitor, packet_step, samples,
};
use antiphon_proto::Stats;
use golden::{Exchange, Line, Step};

#[allow(dead_code, reason = "shared with the tests that replay whole exchanges")]
#[path = "../../cli/tests/support/golden.rs"]
mod golden;

/// Mutations of each sample.
const ROUNDS: usize = 150;

/// Changes some bytes. Half of the time it also takes some out or puts some in, after which nothing is where
/// a length says.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    const ODD: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    let kinds = if random.bool() { 2 } else { 5 };
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u32(..kinds) {
            0 => bytes[at] ^= 1 << random.u32(..8),
            1 => bytes[at] = ODD[random.usize(..ODD.len())],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.u8(..)),
            _ => {
                let end = (at + random.usize(1..20)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

/// Feeds all samples and mutations of each; returns what is told of each of these.
fn feed<Told>(samples: &[Vec<u8>], to: fn(&[u8]) -> Told) -> Vec<Told> {
    assert!(samples.len() > 5, "there are samples");
    let random = &mut fastrand::Rng::with_seed(4803);
    let mut told = Vec::new();
    for sample in samples {
        told.push(to(sample));
        for _ in 0..ROUNDS {
            let mut mutated = sample.clone();
            mutate(&mut mutated, random);
            told.push(to(&mutated));
        }
    }
    told
}

fn cut(streams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let cuts = [1, 7, 48, 255].into_iter().cycle();
    streams.into_iter().zip(cuts).map(|(stream, cut)| [vec![cut], stream].concat()).collect()
}

/// The recorded exchanges of clients: those of monitors are no sessions.
fn conversations() -> impl Iterator<Item = Exchange> {
    Exchange::all().into_iter().filter(|exchange| !is_of_monitor(exchange))
}

/// A daemon's stream that a story goes on with, after the handshake that is in an earlier file.
fn begun(stream: Vec<u8>) -> Vec<u8> {
    const METHODS: &[u8] = b"\x05NULL ";
    const ACCEPTED: &[u8] = b"\x01\x04\x04\x00\x08#me#fake";
    let is_refusal = stream.len() < ACCEPTED.len();
    if is_refusal || stream.starts_with(METHODS) { stream } else { [METHODS, ACCEPTED, &stream].concat() }
}

fn is_of_monitor(exchange: &Exchange) -> bool {
    exchange.name.starts_with('M')
}

/// Of clients that were fed, how many opened a session, and of how many anything was delivered but the end that
/// the daemon makes of those that err.
fn opened_and_served(told: &[Stats]) -> (usize, usize) {
    let opened = told.iter().filter(|stats| stats.sessions_accepted > 0);
    let served = told.iter().filter(|stats| stats.messages_delivered > stats.sessions_errored);
    (opened.count(), served.count())
}

#[test]
fn most_recorded_clients_open_a_session_and_many_are_served() {
    let streams = cut(conversations().flat_map(|exchange| exchange.sent()).collect());
    let told: Vec<_> = streams.iter().map(|stream| client(stream)).collect();
    let (opened, served) = opened_and_served(&told);
    println!("{} streams, {opened} sessions, {served} served", told.len());
    assert!(opened > told.len() * 3 / 4 && served > told.len() / 3);
}

#[test]
fn mutated_clients_never_make_the_daemon_panic() {
    let streams = conversations().flat_map(|exchange| exchange.sent()).collect();
    let told = feed(&cut(streams), client);
    let (opened, served) = opened_and_served(&told);
    println!("{} streams, {opened} sessions, {served} served", told.len());
    assert!(opened > told.len() / 2 && served > told.len() / 4, "most mutations leave something to do");
}

#[test]
fn mutated_daemons_never_make_the_library_panic() {
    let streams = conversations().flat_map(|exchange| exchange.expected()).map(begun).collect();
    let told = feed(&cut(streams), library);
    let (runs, opened) = (told.len(), told.iter().flatten().count());
    let events: usize = told.iter().flatten().sum();
    println!("{runs} streams, {opened} sessions, {events} events");
    assert!(opened > runs / 4 && events > opened, "most mutations leave something to read");
}

#[test]
fn mutated_datagrams_never_make_the_daemon_panic() {
    let random = &mut fastrand::Rng::with_seed(4804);
    let conversation = |random: &mut fastrand::Rng| {
        let sample = samples::datagrams(random, CLUSTER);
        let mut steps = vec![random.u8(..)];
        for _ in 0..20 {
            steps.extend(datagram_step(&sample[random.usize(..sample.len())]));
            steps.extend(packet_step(&samples::chunks(random)));
            steps.extend([random.u8(..) & !3, random.u8(..) & !3 | 1]);
        }
        steps
    };
    let conversations: Vec<_> = (0..60).map(|_| conversation(random)).collect();
    let told = feed(&conversations, datagrams);
    let (runs, received): (_, u64) =
        (told.len() as u64, told.iter().map(|stats| stats.packets_received).sum());
    let delivered: u64 = told.iter().map(|stats| stats.messages_delivered).sum();
    println!("{runs} conversations, {received} packets, {delivered} messages");
    assert!(received > runs && delivered > runs, "many are in the ring for a while");
}

#[test]
fn mutated_requests_of_monitors_never_make_the_daemon_panic() {
    let steps = Exchange::all().into_iter().filter(is_of_monitor).flat_map(|exchange| exchange.lines);
    let request = |line: Line| if let Step::Send(bytes) = line.step { Some(bytes) } else { None };
    let told = feed(&steps.filter_map(request).collect::<Vec<_>>(), monitor);
    let requests = told.iter().filter(|is_request| **is_request).count();
    println!("{} datagrams, {requests} requests", told.len());
    assert!(requests > told.len() / 4, "many mutations are requests");
}

#[test]
fn mutated_configuration_files_are_judged() {
    let files = [
        "Spread_Segment 10.0.0.255:4803 {\n  d0 10.0.0.1\n  d1 10.0.0.2 { D 10.0.0.2 C 127.0.0.1 }\n}\n",
        "Spread_Segment 127.0.0.255:4803 {\n  d0 127.0.0.1\n}\nEventLogFile = \"a %h\"\nDebugFlags = { PRINT EXIT }\n",
        "TokenTimeout = 500\nHurryTimeout = 50\nSpread_Segment 1.2.3.4 { d0 1.2.3.4 }\n",
        "Spread_Segment 127.0.0.1 { d0 127.0.0.1 }\nRequiredAuthMethods = \"NULL\"\nAllowedAuthMethods = \"NULL IP\"\nSocketPortReuse = AUTO\n",
        "Spread_Segment [ff02::1]:3000 {\n d0 [fe80::2]\n}\nSpread_Segment [::1]:4803 {\n d1 [fe80::1]\n}\n",
        "# much\nMaxSessionMessages = 1000\nWindow = 100\nPersonalWindow = 20\nSpread_Segment 239.1.2.3 { d0 1.1.1.1 }\n",
        "# nothing but a remark\n",
        "DaemonUser = spread\nDaemonGroup = spread\nSpread_Segment 1.2.3.4 { d0 1.2.3.4 }\n",
        "MaxSessionMessages = 99999999999999999999\nWindow = -1\nPersonalWindow = 0x20\n",
    ];
    let files: Vec<Vec<u8>> = files.iter().map(|file| file.as_bytes().to_vec()).collect();
    let told = feed(&files, configuration);
    let accepted = told.iter().filter(|is_accepted| **is_accepted).count();
    println!("{} files, {accepted} accepted", told.len());
    assert!(accepted > told.len() / 100, "some mutations are still configurations");
}
