use super::*;
use crate::client::flags::ReplyCode;
use crate::client::golden::{HELLO, HELLO_OLD, HELLO_PRIORITY, bytes};
use crate::names::MemberName;

const LIBRARY: Version = Version { major: 4, minor: 4, patch: 0 };

fn hello_of(bytes: &[u8]) -> Result<Option<Hello>, ReplyCode> {
    let mut reader = HelloReader::new();
    reader.push(bytes);
    reader.hello()
}

fn alice() -> MemberName {
    MemberName::parse(b"#alice#localhost").expect("legal")
}

#[test]
fn recorded_hellos_are_read_and_written_alike() {
    let hello = hello_of(&bytes(HELLO)).expect("legal").expect("whole");
    assert_eq!(hello.version, LIBRARY);
    assert!(hello.wants_membership && hello.priority == 0);
    assert_eq!(hello.name.expect("named").as_bytes(), b"alice");
    let hello = hello_of(&bytes(HELLO_PRIORITY)).expect("legal").expect("whole");
    assert!(!hello.wants_membership && hello.priority == 1);
    let hello = hello_of(&bytes(HELLO_OLD)).expect("legal").expect("whole");
    assert_eq!((hello.version.number(), hello.name.expect("named").as_bytes()), (31_200, &b"old312"[..]));
    for recorded in [HELLO, HELLO_PRIORITY, HELLO_OLD] {
        let hello = hello_of(&bytes(recorded)).expect("legal").expect("whole");
        assert_eq!(hello.encode(), bytes(recorded));
    }
}

#[test]
fn a_hello_may_come_byte_by_byte_and_what_follows_stays() {
    let mut reader = HelloReader::new();
    let mut stream = bytes(HELLO);
    stream.extend_from_slice(&AuthChoice::new(&["NULL"]).encode());
    let (hello, choice) = stream.split_at(bytes(HELLO).len());
    for (read, byte) in hello.iter().enumerate() {
        assert_eq!(reader.hello(), Ok(None), "after {read} bytes");
        reader.push(&[*byte]);
    }
    assert!(reader.hello().expect("legal").is_some());
    for byte in choice {
        assert_eq!(reader.auth_choice(), None);
        reader.push(&[*byte]);
    }
    reader.push(b"early");
    assert_eq!(reader.auth_choice(), Some(AuthChoice::new(&["NULL"])));
    assert_eq!(reader.into_rest().as_ref(), b"early");
}

#[test]
fn bad_hellos_are_refused_as_soon_as_that_is_certain() {
    for (hex, code) in [
        ("0300", ReplyCode::Version),
        ("040400010b", ReplyCode::IllegalName),
        ("04040001ff", ReplyCode::IllegalName),
        ("0404000103612362", ReplyCode::IllegalName),
        ("04040001036120", ReplyCode::IllegalName),
    ] {
        assert_eq!(hello_of(&bytes(hex)), Err(code), "{hex}");
    }
    let unnamed = hello_of(&bytes("0404000100")).expect("legal").expect("whole");
    assert_eq!(unnamed.name, None);
}

#[test]
fn only_odd_positive_flags_ask_for_membership() {
    for (flags, wants) in
        [(0, false), (1, true), (2, false), (3, true), (0x11, true), (0x81, false), (0xff, false)]
    {
        let hello = hello_of(&[4, 4, 0, flags, 0]).expect("legal").expect("whole");
        assert_eq!(hello.wants_membership, wants, "{flags:#x}");
    }
}

#[test]
fn versions_decide_what_is_exchanged() {
    let traits = |major, minor, patch| {
        let version = Version { major, minor, patch };
        (version.is_served(), version.sends_patch(), version.expects_patch(), version.chooses_auth())
    };
    assert_eq!(traits(3, 0, 0), (false, false, false, false));
    assert_eq!(traits(3, 14, 0), (true, false, false, false));
    assert_eq!(traits(3, 15, 2), (true, true, true, false));
    assert_eq!(traits(3, 16, 0), (true, true, true, true));
    assert_eq!(traits(5, 0, 1), (true, true, true, true));
}

#[test]
fn choices_name_their_methods_and_pass_over_empty_slots() {
    assert_eq!(AuthChoice::new(&[]).encode().as_ref(), [0; AUTH_CHOICE_BYTES]);
    let mut raw = [0; AUTH_CHOICE_BYTES];
    raw[30..32].copy_from_slice(b"IP");
    raw[60..64].copy_from_slice(b"NULL");
    let choice = AuthChoice::decode(&raw);
    assert_eq!(choice.methods().collect::<Vec<_>>(), [b"IP".as_slice(), b"NULL"]);
    assert_eq!(choice.encode().as_ref(), raw);
    let long = "x".repeat(40);
    assert_eq!(AuthChoice::new(&[&long]).methods().next().map(<[u8]>::len), Some(29));
}

#[test]
fn lists_and_accepts_are_those_of_recorded_daemons() {
    assert_eq!(encode_method_list(&["NULL"]), bytes("054e554c4c20"));
    assert_eq!(encode_method_list(&[]), bytes("00"));
    let long = "x".repeat(100);
    assert_eq!(encode_method_list(&[&long, "abcdefghijklmnopqrstuvwxyz", "IP"]).len(), 1 + 101 + 3);
    let name = "23616c696365236c6f63616c686f7374";
    assert_eq!(encode_accept(LIBRARY, LIBRARY, &alice()), bytes(&format!("0104040010{name}")));
    let old = Version { major: 3, minor: 12, patch: 0 };
    assert_eq!(encode_accept(old, LIBRARY, &alice()), bytes(&format!("01040410{name}")));
}

#[test]
fn a_client_reads_list_and_accept_byte_by_byte() {
    for client in [LIBRARY, Version { major: 3, minor: 12, patch: 0 }] {
        let mut reader = ReplyReader::new();
        for byte in encode_method_list(&["NULL", "IP"]) {
            assert_eq!(reader.method_list(), Ok(None));
            reader.push(&[byte]);
        }
        assert_eq!(reader.method_list(), Ok(Some(Bytes::from_static(b"NULL IP "))));
        for byte in encode_accept(client, LIBRARY, &alice()) {
            assert_eq!(reader.accept(client), Ok(None));
            reader.push(&[byte]);
        }
        assert_eq!(reader.accept(client), Ok(Some(Accept { daemon: LIBRARY, member: alice() })));
        assert!(reader.into_rest().is_empty());
    }
}

#[test]
fn refusals_stand_where_the_list_or_the_accept_would() {
    for (byte, error) in [
        (0xfa, ReplyError::Refused(ReplyCode::NotUnique)),
        (0xf7, ReplyError::Refused(ReplyCode::Auth)),
        (0x80, ReplyError::UnknownCode(-128)),
    ] {
        let mut reader = ReplyReader::new();
        reader.push(&[byte]);
        assert_eq!(reader.method_list(), Err(error));
        assert_eq!(reader.accept(LIBRARY), Err(error));
    }
    let mut reader = ReplyReader::new();
    reader.push(&[2]);
    assert_eq!(reader.accept(LIBRARY), Err(ReplyError::UnknownCode(2)));
    let mut reader = ReplyReader::new();
    reader.push(&[1, 4, 0x84, 0, 3, b'a', b'b', b'c']);
    assert!(matches!(reader.accept(LIBRARY), Err(ReplyError::Version(_))));
    let mut reader = ReplyReader::new();
    reader.push(&[1, 4, 4, 0, 3, b'a', b'b', b'c']);
    assert!(matches!(reader.accept(LIBRARY), Err(ReplyError::Name(_))));
}
