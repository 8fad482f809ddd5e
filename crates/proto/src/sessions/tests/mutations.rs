//! Client bytes mutated and cut anywhere: the daemon answers or closes, and never panics.

use super::bench::{Bench, LOOPBACK, choice, frame, hello, member};
use crate::delivery::Kind;

fn valid() -> Vec<u8> {
    let alice = b"#alice#localhost";
    [
        hello("alice").to_vec(),
        choice(&["NULL", "IP"]).to_vec(),
        frame(alice, 0x0001_0000, &[b"grp"], b""),
        frame(alice, 0x10, &[b"grp", b"#bob#localhost"], b"agreed"),
        frame(alice, 0x60, &[b"grp"], &[9; 700]),
        frame(alice, 0x0002_0000, &[b"grp"], b""),
        frame(alice, 0x0004_0000, &[alice], b""),
    ]
    .concat()
}

fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(0..=bytes.len());
    match random.u8(0..5) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.u8(..)),
        2 => bytes.extend_from_within(at..),
        3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
        _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
    }
}

#[test]
fn clients_may_say_anything() {
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = valid();
        for _ in 0..random.usize(0..4) {
            mutate(&mut bytes, &mut random);
        }
        let mut bench = Bench::new();
        bench.connect("bob");
        let id = bench.open(LOOPBACK);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.usize(1..=rest.len()));
            bench.feed(id, piece);
            rest = after;
        }
        bench.pass(bench.config.sessions.hello_timeout);
        bench.pass(bench.config.sessions.authentication_timeout);
        bench.run(|sessions, cx| sessions.on_closed(id, cx));
        assert_eq!(bench.sessions.established.len(), 1, "seed {seed}: only bob is left");
        let ends = bench.queued().iter().filter(|message| message.kind == Kind::Disconnect).count();
        assert_eq!(ends as u64, bench.stats.sessions_accepted - 1, "seed {seed}: each session ends once");
        assert!(bench.sessions.receiver(&member("bob")).is_some(), "seed {seed}");
        assert!(!bench.timer_is_set(), "seed {seed}");
    }
}
