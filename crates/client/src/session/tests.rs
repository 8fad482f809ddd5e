use antiphon_wire::client::flags::{CAUSED_BY_JOIN, REG_MEMB, REJECT};
use antiphon_wire::client::handshake::{encode_accept, encode_method_list};
use antiphon_wire::client::membership::{Cause, GroupId, encode_self_leave, encode_transition, encode_view};
use antiphon_wire::service::ServiceLevel;

use super::*;
use crate::ReplyCode;
use crate::message::Change;

const MUTATIONS: usize = 3_000;

fn alice() -> MemberName {
    MemberName::parse(b"#alice#localhost").expect("legal")
}

fn chat() -> GroupName {
    GroupName::new(b"chat").expect("legal")
}

fn accept() -> Bytes {
    encode_accept(Version::REPORTED, Version::REPORTED, &alice())
}

/// Drives a handshake with bytes in pieces of `piece`; the bytes left over go to the session.
fn open(bytes: &[u8], piece: usize) -> Result<Option<Session>, Error> {
    let (mut handshake, _) = Handshake::begin(&Options::default());
    let mut pieces = bytes.chunks(piece);
    let mut step = Step::Read;
    loop {
        step = match step {
            Step::Read => match pieces.next() {
                Some(piece) => handshake.on_bytes(piece)?,
                None => return Ok(None),
            },
            Step::Write(_) => handshake.on_bytes(&[])?,
            Step::Open(mut session) => {
                pieces.for_each(|piece| session.inbox.push(Bytes::copy_from_slice(piece)));
                return Ok(Some(*session));
            }
        };
    }
}

fn opened() -> Session {
    let bytes = [encode_method_list(&["NULL"]), accept()].concat();
    open(&bytes, 1).expect("accepted").expect("whole")
}

#[test]
fn each_message_has_its_own_sender() {
    let mut session = opened();
    let padded = |name: &[u8]| std::array::from_fn(|at| name.get(at).copied().unwrap_or(0));
    for (field, sender) in [
        (b"#a#d".as_slice(), "#a#d"),
        (b"#a#d", "#a#d"),
        (b"#b#d", "#b#d"),
        (b"#a#d\0junk", "#a#d"),
        (b"#a#dd", "#a#dd"),
    ] {
        let mut frame = BytesMut::new();
        let flags = ServiceLevel::Agreed.flag();
        put_frame(&mut frame, flags, &padded(field), Hint::ZERO, [chat().as_field()].into_iter(), b"x");
        session.inbox.push(frame.freeze());
        let event = session.inbox.next_event().expect("well formed");
        assert!(matches!(&event, Some(Event::Message(message)) if message.sender == sender));
    }
}

/// Everything that a daemon says in a session with one event of each kind.
fn conversation() -> Vec<u8> {
    let id = GroupId { leader: 1, time: 2, counter: 3 };
    let mut outbox = opened().outbox;
    let envelope = Envelope::new(ServiceLevel::Safe).to("chat").and_then(|envelope| envelope.to("other"));
    outbox.send(&envelope.expect("legal"), b"hello").expect("it fits");
    let mut rejected = BytesMut::new();
    put_frame(
        &mut rejected,
        REJECT,
        alice().as_field(),
        Hint::ZERO,
        [].iter(),
        &CAUSED_BY_JOIN.to_le_bytes(),
    );
    // The word of a reject is not part of its body.
    rejected[44] = 0;
    let view = encode_view(&chat(), Cause::Network, id, &[alice()], &[&[alice()]]);
    let parts: [&[u8]; 7] = [
        &encode_method_list(&["NULL"]),
        &accept(),
        &view,
        outbox.pending(),
        &encode_transition(&chat(), id),
        &rejected,
        &encode_self_leave(&chat()),
    ];
    parts.concat()
}

#[test]
fn a_conversation_reads_the_same_however_it_is_cut() {
    let bytes = conversation();
    for piece in 1..bytes.len() {
        let mut session = open(&bytes, piece).expect("accepted").expect("whole");
        let mut kinds = String::new();
        while let Some(event) = session.inbox.next_event().expect("well formed") {
            kinds.push(match event {
                Event::View(view) if view.my_index == Some(0) => 'v',
                Event::Message(message) if message.groups.len() == 2 && message.body == "hello" => 'm',
                Event::Transition(transition) if transition.group == chat() => 't',
                Event::Rejected(rejected) if rejected.flags == CAUSED_BY_JOIN => 'r',
                Event::SelfLeave(group) if group == chat() => 'l',
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(kinds, "vmtrl", "in pieces of {piece}");
    }
}

#[test]
fn views_name_the_member_that_they_are_about() {
    let id = GroupId { leader: 1, time: 2, counter: 3 };
    let heard = |cause, sets: &[&[MemberName]]| {
        let view = encode_view(&chat(), cause, id, &[alice()], sets);
        let bytes = [&encode_method_list(&["NULL"])[..], &accept(), &view].concat();
        let mut session = open(&bytes, bytes.len()).expect("accepted").expect("whole");
        session.inbox.next_event()
    };
    for (cause, change) in [
        (Cause::Join, Change::Join(alice())),
        (Cause::Leave, Change::Leave(alice())),
        (Cause::Disconnect, Change::Disconnect(alice())),
    ] {
        let Ok(Some(Event::View(view))) = heard(cause, &[&[alice()]]) else { panic!("no view") };
        assert_eq!((view.change, view.vs_sets, change.cause()), (change, vec![], cause));
        assert!(heard(cause, &[&[]]).is_err() && heard(cause, &[]).is_err(), "about nobody");
    }
    let Ok(Some(Event::View(view))) = heard(Cause::Network, &[&[alice()]]) else { panic!("no view") };
    assert_eq!((view.change, view.vs_sets), (Change::Network, vec![vec![alice()]]));
}

#[test]
fn no_daemon_makes_a_client_panic() {
    let valid = conversation();
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..MUTATIONS {
        let mut bytes = valid.clone();
        for _ in 0..random.usize(1..=3) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(1..=bytes.len()));
        if let Ok(Some(mut session)) = open(&bytes, random.usize(1..=64)) {
            while let Ok(Some(_)) = session.inbox.next_event() {}
        }
    }
}

#[test]
fn options_are_what_the_hello_says() {
    let name = PrivateName::new(b"bob").expect("legal");
    let options = Options { name: Some(name), membership: false, priority: 9, auth: vec![AuthMethod::Ip] };
    let (mut handshake, hello) = Handshake::begin(&options);
    assert_eq!(hello.as_ref(), b"\x04\x04\x00\x10\x03bob");
    let Ok(Step::Write(choice)) = handshake.on_bytes(&encode_method_list(&["NULL", "IP"])) else {
        panic!("no choice");
    };
    assert_eq!((choice.len(), choice.starts_with(b"IP\0")), (90, true));
    assert!(matches!(handshake.on_bytes(&[0xf7]), Err(Error::Refused(ReplyCode::Auth))));
}

#[test]
fn requests_name_the_session_and_end_with_its_private_group() {
    let mut outbox = opened().outbox;
    outbox.join("chat").expect("legal");
    outbox.leave(chat()).expect("legal");
    outbox.disconnect();
    assert!(outbox.join("two words").is_err());
    let mut frames = FrameReader::new(FrameLimits::FROM_CLIENT);
    frames.push(Bytes::copy_from_slice(outbox.pending()));
    for (flags, group) in [(JOIN, "chat"), (LEAVE, "chat"), (KILL, "#alice#localhost")] {
        let frame = frames.next_frame().expect("well formed").expect("whole");
        assert_eq!((frame.header.flags, MemberName::from_field(&frame.header.name)), (flags, Ok(alice())));
        assert_eq!(
            frame.group_fields().map(|f| GroupName::from_field(f).to_string()).next(),
            Some(group.into())
        );
    }
    assert_eq!(frames.next_frame(), Ok(None));
    outbox.clear();
    assert!(outbox.pending().is_empty());
}

#[test]
fn a_message_that_is_refused_leaves_nothing_behind() {
    let mut outbox = opened().outbox;
    assert!(matches!(outbox.send(&Envelope::new(ServiceLevel::Safe), b""), Err(Error::GroupCount(0))));
    let envelope = Envelope::new(ServiceLevel::Safe).to("chat").expect("legal").add_flags(REG_MEMB);
    let long = vec![0; 143_952];
    assert!(matches!(outbox.send(&envelope, &long), Err(Error::MessageTooLong(_))));
    assert!(outbox.pending().is_empty());
}
