//! The handshake as recorded, and what a buffering daemon makes of late and missing bytes.

use antiphon_wire::client::flags::ReplyCode;
use antiphon_wire::client::handshake::AuthMethod;

use super::super::access::{AccessRule, Authentication};
use super::super::setup::PARKED_BYTES;
use super::bench::{Bench, LOOPBACK, bytes, choice, frame, hello, member};
use crate::config::Config;
use crate::delivery::Kind;
use crate::io::{CloseReason, Event};

const LIST: &str = "054e554c4c20";
const NONE: &[&str] = &[];

/// What a client says at once, what it is answered, and whether it is let in.
struct Case {
    what: &'static str,
    hello: &'static str,
    choice: Option<&'static [&'static str]>,
    answer: String,
    refused: Option<ReplyCode>,
}

fn case(
    what: &'static str,
    hello: &'static str,
    choice: Option<&'static [&'static str]>,
    answer: &str,
    refused: Option<ReplyCode>,
) -> Case {
    Case { what, hello, choice, answer: answer.to_owned(), refused }
}

fn accept(version: &str, name: &str) -> String {
    let member = member(name);
    let name: String = member.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("01{version}{:02x}{name}", member.as_bytes().len())
}

fn listed(version: &str, name: &str) -> String {
    format!("{LIST}{}", accept(version, name))
}

fn all(cases: &[Case], change: impl Fn(&mut Config)) {
    for case in cases {
        let hello = bytes(case.hello);
        let choice = case.choice.map(choice).unwrap_or_default();
        for cut in 0..=hello.len() + choice.len() {
            let mut bench = Bench::with(&change);
            let id = bench.open(LOOPBACK);
            // The choice answers the list, so a cut after the hello is always one.
            let (mut at, mut answer) = (0, Vec::new());
            for part in [&hello[..], &choice[..]] {
                let here = cut.saturating_sub(at).min(part.len());
                for piece in [&part[..here], &part[here..]] {
                    bench.feed(id, piece);
                    answer.extend(bench.read(id));
                }
                at += part.len();
            }
            assert_eq!(answer, bytes(&case.answer), "{}, cut at {cut}", case.what);
            assert_eq!(bench.closed(id), case.refused.map(CloseReason::Refused), "{}", case.what);
            assert_eq!(
                bench.sessions.established.len(),
                usize::from(case.refused.is_none()),
                "{}",
                case.what
            );
            assert!(!bench.timer_is_set());
        }
    }
}

#[test]
fn recorded_handshakes_are_answered_alike_wherever_they_are_cut() {
    let null: Option<&[&str]> = Some(&["NULL"]);
    all(
        &[
            case("01", "0404000105616c696365", null, &listed("040400", "alice"), None),
            case("02", "0404001003626f62", null, &listed("040400", "bob"), None),
            case("05", "0300", None, "f9", Some(ReplyCode::Version)),
            case("06", "030c01066f6c64333132", None, &accept("0404", "old312"), None),
            case("08", "030f0201066f6c64333135", None, &accept("040400", "old315"), None),
            case("09", "031103010361626a", null, &listed("040400", "abj"), None),
            case("10", "0500010103616263", null, &listed("040400", "abc"), None),
            case("11", "040400010b", None, "fb", Some(ReplyCode::IllegalName)),
            case("12", "0404000103612362", None, "fb", Some(ReplyCode::IllegalName)),
            case("13", "0404000103612062", None, "fb", Some(ReplyCode::IllegalName)),
            case("17", "040400010124", null, &listed("040400", "$"), None),
            case("18", "0404000103616263", Some(&["IP"]), &format!("{LIST}f7"), Some(ReplyCode::Auth)),
            case("19", "0404000103616263", Some(&["NOPE"]), &format!("{LIST}f7"), Some(ReplyCode::Auth)),
            case("21", "0404000103616263", Some(NONE), &format!("{LIST}f7"), Some(ReplyCode::Auth)),
            case("22", "0404000103616263", Some(&["NULL", "NULL"]), &listed("040400", "abc"), None),
        ],
        |_| {},
    );
}

#[test]
fn configured_methods_are_offered_and_checked_as_recorded() {
    let with = |allowed: &[AuthMethod], required: &[AuthMethod], access: &[AccessRule]| {
        let authentication =
            Authentication { allowed: allowed.into(), required: required.into(), access: access.into() };
        move |config: &mut Config| config.sessions.authentication = authentication.clone()
    };
    let (null, ip) = (AuthMethod::Null, AuthMethod::Ip);
    let ten = AccessRule::Network { address: [10, 0, 0, 0].into(), prefix_bits: 8 };
    let (new, old) = ("0404000105616c696365", "030c01066f6c64333132");
    let cases = [
        case("70", new, Some(&["IP"]), &format!("03495020{}", accept("040400", "alice")), None),
        case("71", new, Some(&["NULL"]), "03495020f7", Some(ReplyCode::Auth)),
        case("72", old, None, &accept("0404", "old312"), None),
    ];
    all(&cases, with(&[ip], &[], &[AccessRule::Local]));
    let cases = [
        case("73", new, Some(&["IP"]), "03495020f7", Some(ReplyCode::Auth)),
        case("74", old, None, "f7", Some(ReplyCode::Auth)),
    ];
    all(&cases, with(&[ip], &[], &[ten]));
    let cases = [
        case("75", new, Some(&["NULL"]), &format!("{LIST}f7"), Some(ReplyCode::Auth)),
        case("75 old", old, None, &accept("0404", "old312"), None),
    ];
    all(&cases, with(&[null], &[ip], &[ten]));
    let both = format!("084e554c4c20495020{}", accept("040400", "alice"));
    let cases = [case("76", new, Some(&["NULL", "IP"]), &both, None)];
    all(&cases, with(&[ip, null], &[], &[AccessRule::Local]));
    let cases = [
        case("77", new, None, "00f7", Some(ReplyCode::Auth)),
        case("78", old, None, "f7", Some(ReplyCode::Auth)),
    ];
    all(&cases, with(&[], &[ip], &[AccessRule::Local]));
}

#[test]
fn silence_is_answered_by_how_far_the_client_had_come() {
    for (what, sent, answer, reason) in [
        ("14", "0404000105616263", "fb", CloseReason::Refused(ReplyCode::IllegalName)),
        ("20", "0404000105616c696365", "054e554c4c20f7", CloseReason::Refused(ReplyCode::Auth)),
        ("23", "04", "", CloseReason::HandshakeTimeout),
        ("24", "", "", CloseReason::HandshakeTimeout),
        ("cut before the name", "0404000105", "", CloseReason::HandshakeTimeout),
        ("old, cut in the name", "030c01066f", "fb", CloseReason::Refused(ReplyCode::IllegalName)),
    ] {
        let mut bench = Bench::new();
        let id = bench.open(LOOPBACK);
        bench.feed(id, &bytes(sent));
        if what == "20" {
            bench.feed(id, &choice(&["NULL"])[..30]);
        }
        bench.pass(bench.config.sessions.hello_timeout);
        bench.pass(bench.config.sessions.authentication_timeout);
        assert_eq!((bench.read(id), bench.closed(id)), (bytes(answer), Some(reason)), "{what}");
        let is_refused = matches!(reason, CloseReason::Refused(_));
        let counted = (bench.stats.sessions_refused, bench.stats.handshakes_timed_out);
        assert_eq!(counted, if is_refused { (1, 0) } else { (0, 1) }, "{what}");
        assert!(!bench.timer_is_set());
    }
}

#[test]
fn more_name_than_announced_is_refused_and_an_early_choice_is_not() {
    let mut bench = Bench::new();
    let id = bench.open(LOOPBACK);
    bench.feed(id, &bytes("0404000103616263646566"));
    assert_eq!(
        (bench.read(id), bench.closed(id)),
        (bytes("fb"), Some(CloseReason::Refused(ReplyCode::IllegalName)))
    );
    for early in [1, 4, 90] {
        let mut bench = Bench::new();
        let id = bench.open(LOOPBACK);
        let (choice, hello) = (choice(&["NULL"]), hello("abc"));
        bench.feed(id, &[&hello, &choice[..early]].concat());
        bench.feed(id, &choice[early..]);
        assert_eq!(bench.read(id), bytes(&listed("040400", "abc")), "{early} bytes early");
    }
}

#[test]
fn a_name_belongs_to_one_session_from_its_hello_on() {
    let mut bench = Bench::new();
    let first = bench.open(LOOPBACK);
    bench.feed(first, &hello("abc"));
    let second = bench.open(LOOPBACK);
    bench.feed(second, &hello("abc"));
    assert_eq!(
        (bench.read(second), bench.closed(second)),
        (bytes("fa"), Some(CloseReason::Refused(ReplyCode::NotUnique)))
    );
    bench.run(|sessions, cx| sessions.on_closed(first, cx));
    let told = Event::SessionClosed(first, Some(member("abc")), CloseReason::HungUpEarly);
    assert_eq!(bench.out.events.last(), Some(&told));
    bench.connect("abc");
    assert!(bench.queued().is_empty(), "a session that was never open has no end to order");
}

#[test]
fn a_name_is_free_again_when_the_end_of_its_bearer_is_ordered() {
    let mut bench = Bench::new();
    let old = bench.connect("again");
    bench.feed(old, &frame(b"#again#localhost", 0x0004_0000, &[b"#again#localhost"], b""));
    assert_eq!(bench.closed(old), Some(CloseReason::Disconnected));
    let waiting = [bench.open(LOOPBACK), bench.open(LOOPBACK)];
    for id in waiting {
        bench.feed(id, &hello("again"));
        bench.feed(id, &choice(&["NULL"]));
        assert!(bench.read(id).is_empty());
    }
    let queued = bench.queued();
    assert_eq!(queued.iter().map(|message| message.kind).collect::<Vec<_>>(), [Kind::Disconnect]);
    bench.depart("again");
    assert_eq!(bench.read(waiting[0]), bytes(&listed("040400", "again")));
    assert_eq!(bench.read(waiting[1]), bytes("fa"));
    assert_eq!(bench.sessions.receiver(&member("again")).map(|receiver| receiver.session), Some(waiting[0]));
}

#[test]
fn who_waits_too_long_for_a_name_is_refused() {
    let mut bench = Bench::new();
    let old = bench.connect("again");
    bench.run(|sessions, cx| sessions.on_closed(old, cx));
    let id = bench.open(LOOPBACK);
    bench.feed(id, &hello("again"));
    bench.pass(bench.config.sessions.authentication_timeout);
    assert_eq!(
        (bench.read(id), bench.closed(id)),
        (bytes("fa"), Some(CloseReason::Refused(ReplyCode::NotUnique)))
    );
    bench.depart("again");
    bench.connect("again");
}

#[test]
fn who_waits_for_a_name_can_send_its_choice_and_a_frame_ahead_and_no_more() {
    let mut bench = Bench::new();
    let old = bench.connect("again");
    bench.run(|sessions, cx| sessions.on_closed(old, cx));
    let id = bench.open(LOOPBACK);
    bench.feed(id, &hello("again"));
    bench.feed(id, &vec![0; PARKED_BYTES]);
    assert_eq!(bench.closed(id), None);
    bench.feed(id, &[0]);
    let reason = CloseReason::ProtocolError("too much sent before the session is open");
    assert_eq!((bench.closed(id), bench.stats.sessions_errored), (Some(reason), 1));
}

#[test]
fn one_session_too_many_is_refused_before_it_says_anything() {
    let mut bench = Bench::with(|config| config.sessions.max_sessions = 2);
    bench.connect("a");
    bench.open(LOOPBACK);
    let id = bench.open(LOOPBACK);
    assert_eq!(
        (bench.read(id), bench.closed(id)),
        (bytes("fd"), Some(CloseReason::Refused(ReplyCode::Quota)))
    );
}

#[test]
fn all_who_are_refused_before_the_host_acts_are_told_why() {
    let mut bench = Bench::with(|config| config.sessions.max_sessions = 2);
    bench.connect("a");
    let same_name = bench.open(LOOPBACK);
    let too_many = bench.open(LOOPBACK);
    bench.feed(same_name, &hello("a"));
    assert_eq!(
        (bench.read(too_many), bench.closed(too_many)),
        (bytes("fd"), Some(CloseReason::Refused(ReplyCode::Quota)))
    );
    assert_eq!(
        (bench.read(same_name), bench.closed(same_name)),
        (bytes("fa"), Some(CloseReason::Refused(ReplyCode::NotUnique)))
    );
    bench.out.clear();
    bench.open(LOOPBACK);
    assert!(bench.sessions.closed.is_empty(), "the host has closed them");
}

#[test]
fn a_client_without_a_name_is_given_one() {
    let mut bench = Bench::new();
    let names: Vec<Vec<u8>> = (0..50)
        .map(|_| {
            let id = bench.open(LOOPBACK);
            bench.feed(id, &bytes("0404000100"));
            bench.feed(id, &choice(&["NULL"]));
            let answer = bench.read(id);
            let name = answer[11..].strip_suffix(b"#localhost").expect("ends with the daemon").to_vec();
            assert!(name.starts_with(b"#r") && name.len() <= 10 && name.contains(&b'-'), "{name:?}");
            name
        })
        .collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn requests_sent_ahead_of_the_accept_are_kept() {
    let mut bench = Bench::new();
    let id = bench.open(LOOPBACK);
    bench.feed(id, &hello("alice"));
    let join = frame(b"#alice#localhost", 0x0001_0000, &[b"grp"], b"");
    let data = frame(b"#alice#localhost", 0x10, &[b"grp"], b"first");
    bench.feed(id, &[&choice(&["NULL"])[..], &join, &data].concat());
    assert_eq!(bench.read(id), bytes(&listed("040400", "alice")));
    let kinds: Vec<Kind> = bench.queued().iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [Kind::Join, Kind::Client]);
}
