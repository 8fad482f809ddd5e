use super::*;
use crate::client::golden::bytes;

/// Headers of requests that a monitor of 4.4.0 sent, with the first bytes of the body; the rest of it is zeros.
const STATUS: &str = "80000081000000000100007fbbace500000000008f190000000000004c0400000000000000000000";
const PARTITION: &str =
    "80000082000000000200007fbbace500000000009f400000000000004c04000000010000000000000000000001";
const FLOW: &str =
    "80000084000000000100007fbbace500000000008f190000000000004c04000000020000000000001e000000c8";
const RELOAD: &str = "80000088000000000100007fbbace500000000008f190000000000004c0400000000000000000000";
const KILL: &str = "80000082000000000100007fbbace500000000008f190000000000004c0400000001000000000000ffff";
/// What a daemon of 4.4.0 answered.
const REPORT: &str = "80000081000000000200007f0000000000000000000000000000000000000000600000000000000078000000\
    010000000100000007000000150000001c00000000000000000000000000000000000000040000000400000004000000d7000000\
    110000000200007f0300007f020000000a0003000300a000140000000f0003000300040004000000";

const PARTITION_BYTES: usize = HEADER_BYTES + 2 * DAEMONS_MAX;
const FLOW_BYTES: usize = HEADER_BYTES + 4 * DAEMONS_MAX;

fn recorded(hex: &str, length: usize) -> Vec<u8> {
    let mut datagram = bytes(hex);
    datagram.resize(length, 0);
    datagram
}

fn decoded(datagram: &[u8]) -> Request {
    assert!(is_request(datagram));
    decode(datagram).expect("a request")
}

/// The same request, as a monitor on a big-endian host sends it.
fn swapped(datagram: &[u8]) -> Vec<u8> {
    let mut swapped = datagram.to_vec();
    swapped[0] &= !0x80;
    swapped[3] &= !0x80;
    swapped[..32].chunks_mut(4).for_each(<[u8]>::reverse);
    swapped[32..].chunks_mut(2).for_each(<[u8]>::reverse);
    swapped
}

/// The same report, as a daemon on a big-endian host sends it.
fn swapped_report(report: &[u8]) -> Vec<u8> {
    let mut swapped = swapped(report);
    swapped[HEADER_BYTES..].chunks_mut(2).for_each(<[u8]>::reverse);
    swapped[HEADER_BYTES..HEADER_BYTES + 72].chunks_mut(4).for_each(<[u8]>::reverse);
    swapped[HEADER_BYTES + 72..].chunks_mut(2).for_each(<[u8]>::reverse);
    swapped
}

#[test]
fn recorded_requests_are_understood_in_both_byte_orders() {
    let all = [
        (STATUS, HEADER_BYTES),
        (PARTITION, PARTITION_BYTES),
        (FLOW, FLOW_BYTES),
        (RELOAD, HEADER_BYTES),
        (KILL, PARTITION_BYTES),
    ];
    for (hex, length) in all {
        let datagram = recorded(hex, length);
        assert_eq!(decoded(&datagram), decoded(&swapped(&datagram)));
        assert_eq!(decoded(&datagram).encode(), datagram);
    }
    let local = Place::Address(Ipv4Addr::LOCALHOST);
    let command = Command::Report;
    assert_eq!(decoded(&bytes(STATUS)), Request { from: local, report_port: 6543, command });
    assert_eq!(decoded(&bytes(RELOAD)).command, Command::Reload);
}

#[test]
fn components_say_who_hears_whom_and_who_ends() {
    let Command::Part(parts) = decoded(&recorded(PARTITION, PARTITION_BYTES)).command else { panic!() };
    assert!(parts.are_joined(0, 1) && !parts.are_joined(0, 2) && !parts.are_joined(2, 1));
    assert!(!(0..DAEMONS_MAX).any(|daemon| parts.ends(daemon)));
    let Command::Part(parts) = decoded(&recorded(KILL, PARTITION_BYTES)).command else { panic!() };
    assert_eq!(parts, Components::new(&[END]));
    assert!(parts.ends(0) && !parts.ends(1) && !parts.ends(DAEMONS_MAX));
    assert!(!parts.are_joined(0, 1) && parts.are_joined(1, 2));
}

#[test]
fn the_window_of_all_stands_behind_those_of_the_daemons() {
    let Command::SetWindows(windows) = decoded(&recorded(FLOW, FLOW_BYTES)).command else { panic!() };
    let (all, personal) = (Some(200), Some(30));
    assert_eq!(windows.of(0, 1), WindowChange { all, personal, after_token: None });
    assert_eq!(windows.of(DAEMONS_MAX, DAEMONS_MAX), WindowChange::default());
    let mut datagram = recorded(FLOW, FLOW_BYTES);
    datagram[HEADER_BYTES..].fill(0xff);
    let Command::SetWindows(windows) = decoded(&datagram).command else { panic!() };
    assert_eq!(windows.of(0, 1), WindowChange::default());
}

#[test]
fn a_monitor_of_5_names_its_place_by_a_virtual_id() {
    let mut datagram = bytes(STATUS);
    datagram[8..12].copy_from_slice(&virtual_id(b"localhost").to_le_bytes());
    datagram[12..16].fill(0);
    datagram[28..32].copy_from_slice(&[1, 2, 3, 4]);
    let request = decoded(&datagram);
    assert_eq!(request.from, Place::VirtualId(0x1cc5_9726));
    assert_eq!(decoded(&request.encode()), request);
}

#[test]
fn what_is_no_request_is_told_apart_and_what_is_wrong_is_refused() {
    for other in ["", "80", "06010000", "80000080", "80000090", "00000001", "81000080", "80000180"] {
        assert!(!is_request(&bytes(other)), "{other}");
        assert!(decode(&bytes(other)).is_err(), "{other}");
    }
    let status = bytes(STATUS);
    let with = |at: usize, byte: u8| {
        let mut datagram = status.clone();
        datagram[at] ^= byte;
        decode(&datagram).expect_err("wrong").to_string()
    };
    assert!(with(12, 1).contains("membership of a monitor"));
    assert!(with(28, 1).contains("membership of a monitor"));
    assert!(with(22, 1).contains("port of a monitor"));
    assert!(with(32, 1).contains("length of a monitor request"));
    for length in 0..HEADER_BYTES {
        assert!(decode(&status[..length]).is_err());
    }
    // A kind whose body has another length than the header says, and a header that says another than the kind has.
    assert!(decode(&recorded(STATUS, HEADER_BYTES + 1)).is_err());
    assert!(decode(&recorded(PARTITION, FLOW_BYTES)).is_err());
    let mut short = recorded(FLOW, PARTITION_BYTES);
    short[32..34].copy_from_slice(&(2 * DAEMONS_MAX as u16).to_le_bytes());
    assert!(decode(&short).expect_err("too short").to_string().contains("cut short"));
}

#[test]
fn a_report_has_the_recorded_form() {
    let address = |last| Ipv4Addr::new(127, 0, 0, last).to_bits();
    let report = Report {
        daemon: address(2),
        leader: address(3),
        uptime_s: 120,
        ring: RingState::Operational,
        groups_state: GroupsState::Operational,
        packets_sent: 7,
        packets_received: 21,
        packets_delivered: 28,
        packets_retransmitted: 0,
        stable: 4,
        held: 4,
        highest: 4,
        tokens_retransmitted: 215,
        token_visits: 17,
        messages_delivered: 2,
        rings_installed: 10,
        members: 3,
        segments: 3,
        window: 160,
        personal_window: 20,
        accelerated_window: 15,
        sessions: 3,
        groups: 3,
        version: [4, 4, 0],
    };
    let mut expected = bytes(REPORT);
    // That daemon's ring was not accelerated.
    expected[HEADER_BYTES + 82] = 1;
    assert_eq!(report.encode(), expected);
    assert_eq!(Report::decode(&expected), Ok(report));
    assert_eq!(Report::decode(&swapped_report(&expected)), Ok(report));
    for length in 0..expected.len() {
        assert!(Report::decode(&expected[..length]).is_err());
    }
    expected[HEADER_BYTES + 4] = 9;
    assert!(Report::decode(&expected).expect_err("no such state").to_string().contains("state of a ring"));
    let lazy = Report { accelerated_window: 0, ..report }.encode();
    assert_eq!(lazy[HEADER_BYTES + 82..HEADER_BYTES + 86], [0; 4]);
}

#[test]
fn a_report_can_not_be_taken_for_a_request_and_its_numbers_stay_in_their_fields() {
    let huge = Report {
        daemon: 1,
        leader: 1,
        uptime_s: u64::MAX,
        ring: RingState::Gather,
        groups_state: GroupsState::Gather,
        packets_sent: 1 << 31,
        packets_received: 1 << 31 | 5,
        packets_delivered: 0,
        packets_retransmitted: 9,
        stable: 0,
        held: 0,
        highest: 0,
        tokens_retransmitted: 0,
        token_visits: 0,
        messages_delivered: 0,
        rings_installed: u64::MAX,
        members: 1,
        segments: 1,
        window: u32::MAX,
        personal_window: 1,
        accelerated_window: 1,
        sessions: 40_000,
        groups: usize::MAX,
        version: [4, 4, 0],
    };
    let report = huge.encode();
    assert_eq!(report.len(), REPORT_BYTES);
    assert!(decode(&report).is_err());
    let word =
        |at: usize| i32::from_le_bytes(report[HEADER_BYTES + at..][..4].try_into().expect("four bytes"));
    assert_eq!((word(0), word(12), word(16), word(24), word(36)), (i32::MAX, 0, 5, 9, 9));
    let half =
        |at: usize| i16::from_le_bytes(report[HEADER_BYTES + at..][..2].try_into().expect("two bytes"));
    for at in [72, 78, 86, 88] {
        assert_eq!(half(at), i16::MAX, "at {at}");
    }
}
