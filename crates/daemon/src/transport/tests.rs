//! Daemons' sockets talking to each other on the loopback interface.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use antiphon_proto::Target;
use antiphon_proto::time::Instant as Now;
use antiphon_wire::ids::DaemonId;
use antiphon_wire::ring::VERSION;

use super::*;
use crate::conf::{Source, load_source};

/// Opens the sockets of three daemons of one segment on a port that nobody uses.
fn three(segment: &str) -> [Transport; 3] {
    three_with(segment, [None, None, None])
}

/// The same, of which each seals with keys of its own or not at all.
fn three_with(segment: &str, keys: [Option<&str>; 3]) -> [Transport; 3] {
    for _ in 0..20 {
        let port = fastrand::u16(20_000..32_000);
        let text = format!("Spread_Segment {segment}:{port} {{ a 127.0.0.1 b 127.0.0.2 c 127.0.0.3 }}");
        let open = |at: usize| {
            let source = Source::new("test", text.as_bytes());
            let mut settings = load_source(source, Some(["a", "b", "c"][at])).expect("a good file").settings;
            let file = keys[at].map(KeyFile::new);
            settings.key_file = file.as_ref().map(|file| file.0.clone());
            Transport::bind(&settings)
        };
        if let (Ok(a), Ok(b), Ok(c)) = (open(0), open(1), open(2)) {
            return [a, b, c];
        }
    }
    panic!("no free port");
}

/// A file with the key of a digit, which goes away with its value.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(digit: &str) -> Self {
        let name = format!("antiphon-seal-{}-{}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, digit.repeat(64)).expect("writable");
        Self(path)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn transmit(to: &[u16], channel: Channel, bytes: &'static [u8], segment_bytes: usize) -> Transmit {
    let to = Target::Each(to.iter().map(|id| DaemonId(*id)).collect());
    Transmit { to, channel, burst: Bytes::from_static(bytes), segment_bytes }
}

/// Everything that arrives on a channel until `count` datagrams are there or it takes too long.
fn arrivals(transport: &mut Transport, channel: Channel, count: usize) -> Vec<Bytes> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut datagrams = Vec::new();
    while datagrams.len() < count && Instant::now() < deadline {
        transport.suspect_all();
        while transport.is_ready(channel) {
            transport.receive(channel, &mut datagrams);
        }
    }
    datagrams
}

fn reaches_each_once(segment: &str) {
    let [mut a, mut b, mut c] = three(segment);
    a.send(&transmit(&[1, 2], Channel::Data, b"aaaabbbbcc", 4));
    a.send(&transmit(&[2], Channel::Control, b"token", 5));
    for daemon in [&mut b, &mut c] {
        assert_eq!(arrivals(daemon, Channel::Data, 3), ["aaaa", "bbbb", "cc"]);
    }
    assert_eq!(arrivals(&mut c, Channel::Control, 1), ["token"]);
    for daemon in [&mut a, &mut b, &mut c] {
        let mut more = Vec::new();
        daemon.suspect_all();
        daemon.receive(Channel::Data, &mut more);
        daemon.receive(Channel::Data, &mut more);
        daemon.receive(Channel::Control, &mut more);
        assert!(more.is_empty(), "{more:?}");
    }
}

#[test]
fn a_burst_reaches_each_daemon_once_one_by_one() {
    reaches_each_once("127.0.0.255");
}

#[test]
fn a_burst_reaches_each_daemon_once_by_multicast() {
    reaches_each_once("239.255.77.1");
}

#[test]
fn multicast_takes_one_call_for_all() {
    let [mut a, ..] = three("239.255.77.2");
    a.send(&transmit(&[1, 2], Channel::Data, b"xxxx", 4));
    assert_eq!((a.stats().send_calls, a.stats().datagrams_sent), (1, 1));
}

#[test]
fn a_cut_link_carries_nothing_either_way() {
    let [mut a, mut b, mut c] = three("127.0.0.255");
    a.filter().cut(DaemonId(1));
    a.send(&transmit(&[1, 2], Channel::Data, b"x", 1));
    b.send(&transmit(&[0], Channel::Control, b"y", 1));
    c.send(&transmit(&[0], Channel::Control, b"z", 1));
    assert_eq!(arrivals(&mut c, Channel::Data, 1), ["x"]);
    assert_eq!(arrivals(&mut a, Channel::Control, 1), ["z"]);
    let mut nothing = Vec::new();
    b.receive(Channel::Data, &mut nothing);
    assert!(nothing.is_empty());
    assert_eq!(a.stats().datagrams_cut, 1);
    a.filter().heal(DaemonId(1));
    b.send(&transmit(&[0], Channel::Control, b"y", 1));
    assert_eq!(arrivals(&mut a, Channel::Control, 1), ["y"]);
}

#[test]
fn a_port_in_use_is_named() {
    let [a, ..] = three("127.0.0.255");
    let (data, _) = a.local_addresses().expect("bound");
    let text = format!("Spread_Segment 127.0.0.255:{} {{ a 127.0.0.1 }}", data.port());
    let settings = load_source(Source::new("test", text.as_bytes()), None).expect("a good file").settings;
    let error = Transport::bind(&settings).expect_err("in use");
    assert!(error.to_string().contains(&data.to_string()), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
}

/// Waits until the poller tells of something; false when it does not within a moment.
fn is_told(poll: &mut mio::Poll, moment: Duration) -> bool {
    let mut events = mio::Events::with_capacity(8);
    while let Err(error) = poll.poll(&mut events, Some(moment)) {
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
    !events.is_empty()
}

fn rests_while_the_ring_is_saturated(segment: &str, to: &[u16]) {
    let at = |ms| Now::default() + Duration::from_millis(ms);
    let packet = transmit(to, Channel::Data, b"packet", 6);
    let [mut a, mut b, _c] = three(segment);
    let mut poll = mio::Poll::new().expect("a poller");
    b.register(poll.registry()).expect("registered");
    for ms in [10, 11] {
        a.send(&packet);
        assert!(is_told(&mut poll, Duration::from_secs(10)), "nobody told of a packet");
        assert_eq!(arrivals(&mut b, Channel::Data, 1), ["packet"]);
        b.moderate(at(ms), true);
        b.update_interest(at(ms), poll.registry());
    }
    assert_eq!(b.rests_until(), Some(at(12)));
    a.send(&packet);
    assert!(!is_told(&mut poll, Duration::from_millis(50)), "a packet woke the daemon");

    b.look();
    assert_eq!(arrivals(&mut b, Channel::Data, 1), ["packet"]);
    b.moderate(at(12), true);
    assert_eq!(b.rests_until(), Some(at(13)), "the next came as slowly");
    a.send(&packet);
    b.moderate(at(13), false);
    b.update_interest(at(13), poll.registry());
    assert_eq!((b.rests_until(), b.stats().moderated_looks), (None, 1));
    assert!(
        is_told(&mut poll, Duration::from_secs(10)),
        "nobody told of what came before the poller was asked"
    );
}

#[test]
fn packets_of_a_saturated_ring_wake_nobody_one_by_one() {
    rests_while_the_ring_is_saturated("127.0.0.255", &[1, 2]);
}

#[test]
fn packets_of_a_saturated_ring_wake_nobody_by_multicast() {
    rests_while_the_ring_is_saturated("239.255.77.3", &[1, 2]);
}

#[test]
fn packets_of_a_saturated_ring_wake_nobody_one_by_one_in_a_segment_with_multicast() {
    rests_while_the_ring_is_saturated("239.255.77.4", &[1]);
}

/// The beginning of a datagram of the first daemon.
const HEADER: [u8; 10] = [VERSION, 1, 0, 0, 9, 9, 9, 9, 0, 0];

#[test]
fn sealed_datagrams_are_for_those_with_the_key() {
    let [mut a, mut b, mut c] = three_with("239.255.77.5", [Some("1"), Some("1"), Some("2")]);
    let datagrams = [1, 2, 3].map(|fill: u8| [HEADER.as_slice(), &[fill; 500]].concat());
    let burst = Bytes::from(datagrams.concat());
    let to = Target::Each([DaemonId(1), DaemonId(2)].into());
    a.send(&Transmit { to, channel: Channel::Data, burst, segment_bytes: 510 });
    assert_eq!(arrivals(&mut b, Channel::Data, 3), datagrams);
    let deadline = Instant::now() + Duration::from_secs(2);
    while c.stats().datagrams_not_opened < 3 && Instant::now() < deadline {
        assert_eq!(arrivals_now(&mut c), [""; 0]);
    }
    let not_opened = [&b, &c].map(|daemon| daemon.stats().datagrams_not_opened);
    assert_eq!(not_opened, [0, 3]);
}

#[test]
fn a_daemon_whose_key_is_missing_does_not_start_without() {
    let text = "Spread_Segment 127.0.0.255:4803 { a 127.0.0.1 }\nKeyFile = /nowhere/antiphon.key";
    let settings = load_source(Source::new("test", text.as_bytes()), None).expect("a good file").settings;
    let error = Transport::bind(&settings).expect_err("no key").to_string();
    assert!(error.contains("cannot seal") && error.contains("cannot read /nowhere/antiphon.key"), "{error}");
}

#[test]
fn who_has_a_key_takes_nothing_that_is_not_sealed_but_what_never_is() {
    let [mut a, mut b, _c] = three_with("127.0.0.255", [None, Some("1"), None]);
    let unsealed = [HEADER.as_slice(), b"unsealed"].concat();
    let of_another_version = [&[VERSION + 1], &HEADER[1..], b"whatever"].concat();
    let of_a_monitor = [&[0x80, 0, 0, 0x81], [0; 36].as_slice()].concat();
    for datagram in [&unsealed, &of_another_version, &of_a_monitor] {
        let to = Target::One(DaemonId(1));
        let burst = Bytes::from(datagram.clone());
        a.send(&Transmit { to, channel: Channel::Data, burst, segment_bytes: datagram.len() });
    }
    assert_eq!(arrivals(&mut b, Channel::Data, 1), [of_another_version]);
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut requests = Vec::new();
    while requests.is_empty() && Instant::now() < deadline {
        assert_eq!(arrivals_now(&mut b), [""; 0]);
        requests.extend(b.take_requests());
    }
    assert_eq!(requests, [([127, 0, 0, 1].into(), Bytes::from(of_a_monitor))]);
    assert_eq!(b.stats().datagrams_not_opened, 1);
}

#[test]
fn who_has_no_key_takes_nothing_that_is_sealed_and_counts_it() {
    let [mut a, mut b, _c] = three_with("127.0.0.255", [Some("1"), None, None]);
    let datagrams = [[HEADER.as_slice(), b"one"].concat(), [HEADER.as_slice(), b"two"].concat()];
    let burst = Bytes::from(datagrams.concat());
    a.send(&Transmit { to: Target::One(DaemonId(1)), channel: Channel::Control, burst, segment_bytes: 13 });
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut handed_on = Vec::new();
    while b.stats().datagrams_not_opened < 2 && Instant::now() < deadline {
        b.suspect_all();
        b.receive(Channel::Control, &mut handed_on);
    }
    assert_eq!((b.stats().datagrams_not_opened, handed_on), (2, Vec::<Bytes>::new()));
}

#[test]
fn what_is_sent_again_as_it_was_recorded_is_counted_and_dropped() {
    let [_a, mut b, mut recorder] = three_with("127.0.0.255", [None, Some("1"), None]);
    let keys = "1".repeat(64).parse().expect("keys");
    let mut sealer = Seal::new(&keys, DaemonId(0), 3).expect("a random salt");
    let datagram = [HEADER.as_slice(), b"sealed"].concat();
    let recorded = sealer.seal(&datagram, datagram.len(), Some(DaemonId(1))).expect("sealed");
    let next = sealer.seal(&datagram, datagram.len(), Some(DaemonId(1))).expect("sealed");
    for burst in [&recorded, &recorded, &recorded, &next] {
        let (to, burst) = (Target::One(DaemonId(1)), burst.clone());
        recorder.send(&Transmit { to, channel: Channel::Data, segment_bytes: burst.len(), burst });
    }
    assert_eq!(arrivals(&mut b, Channel::Data, 2), [datagram.clone(), datagram]);
    assert_eq!((b.stats().datagrams_repeated, b.stats().datagrams_not_opened), (2, 0));
}

#[test]
fn monitors_are_heard_at_the_address_of_a_daemon_and_not_at_that_of_all() {
    let [mut a, mut b, mut c] = three("239.255.77.6");
    let request = Bytes::from([&[0x80, 0, 0, 0x81], [0; 36].as_slice()].concat());
    let to_all = Target::Each([DaemonId(1), DaemonId(2)].into());
    let segment_bytes = request.len();
    a.send(&Transmit { to: to_all, channel: Channel::Data, burst: request.clone(), segment_bytes });
    for daemon in [&mut b, &mut c] {
        assert_eq!(
            arrivals(daemon, Channel::Data, 1),
            std::slice::from_ref(&request),
            "for the core to refuse"
        );
    }
    a.send(&Transmit {
        to: Target::One(DaemonId(1)),
        channel: Channel::Data,
        burst: request.clone(),
        segment_bytes,
    });
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut requests = Vec::new();
    while requests.is_empty() && Instant::now() < deadline {
        assert_eq!(arrivals_now(&mut b), [""; 0]);
        requests.extend(b.take_requests());
    }
    assert_eq!(requests, [([127, 0, 0, 1].into(), request)]);
}

/// What has arrived by now.
fn arrivals_now(transport: &mut Transport) -> Vec<Bytes> {
    let mut datagrams = Vec::new();
    transport.suspect_all();
    while transport.is_ready(Channel::Data) {
        transport.receive(Channel::Data, &mut datagrams);
    }
    datagrams
}
