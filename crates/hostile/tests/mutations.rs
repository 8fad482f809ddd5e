//! Seeded mutations of real exchanges, fed to everything that reads bytes from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::path::Path;

use antiphon_hostile::{
    CLUSTER, client, configuration, datagram_step, datagrams, library, monitor, packet_step, samples,
};

/// Mutations of each sample.
const ROUNDS: usize = 150;

/// The recorded exchanges whose names begin so.
fn recorded(names: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/golden");
    let mut files: Vec<_> =
        directory.read_dir().expect("exchanges").flatten().map(|file| file.path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(names)));
    files.sort();
    files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

/// The bytes of the recorded exchanges that begin a line with that mark.
fn exchanges(mark: &str) -> Vec<Vec<u8>> {
    let bytes = |text: String| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
        lines.flat_map(|line| unhex(line.trim())).collect::<Vec<u8>>()
    };
    recorded("").into_iter().map(bytes).filter(|bytes| !bytes.is_empty()).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Changes some bytes, or takes some out, or puts some in.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    const ODD: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    for _ in 0..random.usize(1..6) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u32(..5) {
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

fn feed(samples: &[Vec<u8>], to: fn(&[u8])) {
    assert!(samples.len() > 5, "there are samples");
    let random = &mut fastrand::Rng::with_seed(4803);
    for sample in samples {
        to(sample);
        for _ in 0..ROUNDS {
            let mut mutated = sample.clone();
            mutate(&mut mutated, random);
            to(&mutated);
        }
    }
}

fn cut(streams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let cuts = [1, 7, 48, 255].into_iter().cycle();
    streams.into_iter().zip(cuts).map(|(stream, cut)| [vec![cut], stream].concat()).collect()
}

#[test]
fn mutated_clients_never_make_the_daemon_panic() {
    feed(&cut(exchanges(">")), client);
}

#[test]
fn mutated_daemons_never_make_the_library_panic() {
    feed(&cut(exchanges("<")), library);
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
    feed(&conversations, datagrams);
}

#[test]
fn mutated_requests_of_monitors_never_make_the_daemon_panic() {
    let requests = |text: String| -> Vec<Vec<u8>> {
        text.lines().filter_map(|line| line.strip_prefix('>')).map(|line| unhex(line.trim())).collect()
    };
    feed(&recorded("M").into_iter().flat_map(requests).collect::<Vec<_>>(), monitor);
}

#[test]
fn mutated_configuration_files_are_judged() {
    let files = [
        "Spread_Segment 10.0.0.255:4803 {\n  d0 10.0.0.1\n  d1 10.0.0.2 { D 10.0.0.2 C 127.0.0.1 }\n}\n",
        "Spread_Segment 127.0.0.255:4803 {\n  d0 127.0.0.1\n}\nEventLogFile = \"a %h\"\nDebugFlags = { PRINT EXIT }\n",
        "DaemonUser = spread\nDaemonGroup = spread\nTokenTimeout = 500\nHurryTimeout = 50\nSeg 1.2.3.4 {}\n",
        "RequiredAuthMethods = \"NULL\"\nAllowedAuthMethods = \"NULL IP\"\nSocketPortReuse = AUTO\n",
        "Spread_Segment 239.1.2.3:3000 {\n d0 1.1.1.1\n}\nSpread_Segment [::1]:4803 {\n d1 [fe80::1]\n}\n",
        "# nothing but a remark",
        "MaxSessionMessages = 99999999999999999999\nWindow = -1\nPersonalWindow = 0x20\n",
    ];
    let files: Vec<Vec<u8>> = files.iter().map(|file| file.as_bytes().to_vec()).collect();
    (0..20).for_each(|_| feed(&files, configuration));
}
