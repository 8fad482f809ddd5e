//! Every decoder against prefixes and random mutations of valid bytes: an answer, never a panic.

use bytes::Bytes;

use super::frame::{FrameLimits, FrameReader};
use super::golden;
use super::handshake::{AuthChoice, HelloReader, ReplyReader, Version, encode_accept, encode_method_list};
use super::membership::{Membership, with_own_set};
use crate::names::MemberName;

const MUTATIONS: usize = 2_000;

/// Calls `check` with every prefix of `valid` and with many seeded mutations of it.
fn disturb(valid: &[u8], seed: u64, check: impl Fn(&[u8])) {
    for end in 0..=valid.len() {
        check(&valid[..end]);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..MUTATIONS {
        let mut bytes = valid.to_vec();
        for _ in 0..random.usize(1..=4) {
            mutate(&mut bytes, &mut random);
        }
        check(&bytes);
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(0..=bytes.len());
    match random.u8(0..5) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.u8(..)),
        2 => bytes.extend_from_within(at..),
        3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
        _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.u8(..)),
    }
}

fn read_frames(bytes: &[u8], limits: FrameLimits) {
    let mut reader = FrameReader::new(limits);
    for piece in bytes.chunks(29) {
        reader.push(Bytes::copy_from_slice(piece));
        while let Ok(Some(frame)) = reader.next_frame() {
            let _ = Membership::decode(&frame);
            let _ = with_own_set(frame.whole(), 36);
            assert_eq!(frame.group_fields().len() as u32, frame.header.group_count);
        }
    }
}

#[test]
fn frames_survive_anything() {
    let all = [
        golden::JOIN_REQUEST,
        golden::BIG_ENDIAN_DATA,
        golden::JOIN_VIEW,
        golden::TRANSITION,
        golden::SELF_LEAVE,
        golden::MERGE_VIEW_SECOND,
    ];
    for (seed, hex) in (1..).zip(all) {
        for limits in [FrameLimits::FROM_CLIENT, FrameLimits::FROM_DAEMON] {
            disturb(&golden::bytes(hex), seed, |bytes| read_frames(bytes, limits));
        }
    }
}

#[test]
fn hellos_survive_anything() {
    let mut valid = golden::bytes(golden::HELLO);
    valid.extend_from_slice(&AuthChoice::new(&["NULL", "IP"]).encode());
    disturb(&valid, 7, |bytes| {
        let mut reader = HelloReader::new();
        for byte in bytes {
            reader.push(&[*byte]);
            if let Ok(Some(_)) = reader.hello() {
                break;
            }
        }
        reader.push(bytes);
        let _ = reader.auth_choice().map(|choice| choice.methods().count());
    });
}

#[test]
fn replies_survive_anything() {
    let member = MemberName::parse(b"#alice#localhost").expect("legal");
    let accept = encode_accept(Version::REPORTED, Version::REPORTED, &member);
    let valid = [encode_method_list(&["NULL", "IP"]), accept].concat();
    disturb(&valid, 8, |bytes| {
        let mut reader = ReplyReader::new();
        for byte in bytes {
            reader.push(&[*byte]);
            let _ = reader.method_list();
        }
        reader.push(bytes);
        let _ = reader.accept(Version::REPORTED);
    });
}
