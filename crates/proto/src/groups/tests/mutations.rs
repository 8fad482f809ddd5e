//! Messages between groups layers against mutations of valid bytes: counted, never a panic.

use bytes::Bytes;

use super::codec::{read, report, written};
use super::world::{Client, Seen, World};
use crate::delivery::{KeptMessage, Kind};
use antiphon_wire::service::ServiceLevel;

fn mutated(valid: &Bytes, random: &mut fastrand::Rng) -> Bytes {
    let mut bytes = valid.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => bytes.extend_from_within(at..),
            3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.u8(..)),
        }
    }
    bytes.into()
}

#[test]
fn reports_survive_anything() {
    let mut random = fastrand::Rng::with_seed(3);
    let valid = written(&report(20, 30));
    for end in 0..valid.len() {
        assert!(read(valid.slice(..end)).is_err(), "cut after {end} bytes");
    }
    for _ in 0..20_000 {
        if let Ok(report) = read(mutated(&valid, &mut random)) {
            let members = report.members.len();
            for group in &report.groups {
                assert!(group.members.is_sorted_by(|one, other| one < other));
                assert!(group.members.iter().all(|member| (*member as usize) < members));
            }
        }
    }
}

/// Merges the daemons; returns the log of their ring, with the reports of all, of which nobody has delivered any.
fn merge_up_to_reports(world: &mut World, daemons: usize) -> &mut Vec<KeptMessage> {
    world.regroup(&[&(0..daemons).collect::<Vec<_>>()]);
    (0..daemons).for_each(|host| assert!(world.originate(host)));
    let ring = world.hosts[0].ring;
    &mut world.rings[ring].log
}

#[test]
fn a_report_with_a_count_of_parts_that_cannot_be_is_void() {
    /// Where a part says how many there are: behind what it is, ring and number.
    const COUNT: std::ops::Range<usize> = 23..27;
    for count in [0, u32::MAX] {
        let mut world = World::apart(2);
        let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
        for client in [a, b] {
            world.join(client, "g");
        }
        world.run();
        let part = merge_up_to_reports(&mut world, 2).last_mut().expect("the second daemon's");
        let mut bytes = part.bytes.to_vec();
        assert_eq!(bytes[COUNT], 1_u32.to_le_bytes());
        bytes[COUNT].copy_from_slice(&count.to_le_bytes());
        part.bytes = bytes.into();
        world.run();
        for host in 0..2 {
            assert!(world.hosts[host].groups.is_settled(), "with a count of {count}");
            assert_eq!(
                world.hosts[host].stats.groups_messages_rejected, 2,
                "the part, and what is left of the report"
            );
            assert_eq!(world.table(host), world.table(0));
            assert_eq!(world.table(host)[0].3, [a.member]);
        }
        expect_only_the_first_to_hear(&mut world, a, b);
    }
}

/// What cannot be read of a report is lost to all, to the daemon that wrote it as well.
#[test]
fn a_report_counts_as_far_as_it_can_be_read() {
    let mut world = World::apart(2);
    let (a, b) = (world.connect(0, "a"), world.connect(1, "b"));
    ["f", "g"].iter().for_each(|group| world.join(b, group));
    world.join(a, "g");
    world.run();
    let part = merge_up_to_reports(&mut world, 2).last_mut().expect("the second daemon's");
    part.bytes = part.bytes.slice(..part.bytes.len() - 1);
    world.run();
    for host in 0..2 {
        assert_eq!(world.hosts[host].stats.groups_messages_rejected, 1);
        let members = world.table(host).into_iter().map(|(name, .., members)| (name.to_string(), members));
        let expected = [("f".to_owned(), vec![b.member]), ("g".to_owned(), vec![a.member])];
        assert_eq!(members.collect::<Vec<_>>(), expected);
    }
    expect_only_the_first_to_hear(&mut world, a, b);
}

/// The second has fallen out of `g`, in which it was.
fn expect_only_the_first_to_hear(world: &mut World, first: Client, second: Client) {
    for client in [first, second] {
        world.read(client);
    }
    world.send(first, ServiceLevel::Agreed.flag(), &["g"], "hello");
    world.run();
    let heard = [first, second].map(|client| world.read(client));
    assert_eq!(heard, [vec![Seen::Data("hello".to_owned())], vec![]]);
}

#[test]
fn whatever_a_daemon_sends_its_peers_count_it_and_agree() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::apart(3);
        for host in 0..3 {
            for name in ["a", "b", "c"] {
                let client = world.connect(host, name);
                world.join(client, ["g", "h"][random.usize(..2)]);
            }
        }
        world.run();
        let log = merge_up_to_reports(&mut world, 3);
        for _ in 0..8 {
            let at = random.usize(..log.len());
            let bytes = mutated(&log[at].bytes, &mut random);
            let kinds = [Kind::Client, Kind::Join, Kind::Leave, Kind::Disconnect, Kind::Daemon];
            let kind = kinds[random.usize(..5)];
            let sender = log[at].sender;
            let (service, preamble) = (ServiceLevel::Agreed, Bytes::new());
            log.insert(at, KeptMessage { sender, kind, service, preamble, bytes });
        }
        world.run();
        for host in 0..3 {
            assert!(world.hosts[host].groups.is_settled(), "seed {seed}");
            assert_eq!(world.table(host), world.table(0), "seed {seed}");
        }
        world.regroup(&[&[0, 1], &[2]]);
        world.run();
        assert_eq!(world.table(1), world.table(0), "seed {seed}");
    }
}
