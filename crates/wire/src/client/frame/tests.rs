use super::super::flags::{JOIN, SELF_DISCARD};
use super::super::golden::{BIG_ENDIAN_DATA, JOIN_REQUEST, JOIN_VIEW, bytes};
use super::*;
use crate::names::{GroupName, MemberName};

fn reader_with(stream: &[u8]) -> FrameReader {
    let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
    reader.push(Bytes::copy_from_slice(stream));
    reader
}

fn header(flags: u32, group_count: u32, body_bytes: u32) -> [u8; HEADER_BYTES] {
    Header { flags, name: [0; 32], group_count, hint: Hint::ZERO, body_bytes, little_endian: true }.encode()
}

#[test]
fn a_stream_reads_the_same_however_it_is_cut() {
    let stream = [bytes(JOIN_REQUEST), bytes(BIG_ENDIAN_DATA), bytes(JOIN_VIEW)].concat();
    for piece in 1..stream.len() {
        let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
        let mut whole = Vec::new();
        for cut in stream.chunks(piece) {
            reader.push(Bytes::copy_from_slice(cut));
            while let Some(frame) = reader.next_frame().expect("well formed") {
                whole.push(frame.whole().to_vec());
            }
        }
        assert_eq!(whole, [bytes(JOIN_REQUEST), bytes(BIG_ENDIAN_DATA), bytes(JOIN_VIEW)], "by {piece}");
        assert_eq!(reader.buffered_bytes(), 0);
    }
}

#[test]
fn pieces_may_be_pushed_ahead_of_reading() {
    let stream = [bytes(JOIN_REQUEST), bytes(BIG_ENDIAN_DATA)].concat();
    let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
    stream.chunks(7).for_each(|piece| reader.push(Bytes::copy_from_slice(piece)));
    assert_eq!(reader.buffered_bytes(), stream.len());
    assert_eq!(reader.next_frame().expect("well formed").expect("whole").header.flags, JOIN);
    let frame = reader.next_frame().expect("well formed").expect("whole");
    assert_eq!((frame.header.little_endian, frame.body()), (false, b"from BE".as_slice()));
    assert_eq!(reader.next_frame(), Ok(None));
}

#[test]
fn a_frame_inside_one_piece_is_not_copied() {
    let stream = Bytes::from([bytes(JOIN_REQUEST), bytes(BIG_ENDIAN_DATA)].concat());
    let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
    reader.push(stream.clone());
    for at in [0, bytes(JOIN_REQUEST).len()] {
        let frame = reader.next_frame().expect("well formed").expect("whole");
        assert_eq!(frame.whole().as_ptr(), stream[at..].as_ptr());
        assert_eq!(frame.groups().as_ptr(), stream[at + HEADER_BYTES..].as_ptr());
        let (place, bytes) = (frame.body().as_ptr(), frame.body().len());
        let body = frame.into_body();
        assert!(bytes == 0 || body.as_ptr() == place);
        assert_eq!(body.len(), bytes);
    }
}

#[test]
fn what_is_read_keeps_no_memory() {
    let join = bytes(JOIN_REQUEST);
    let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
    for cut in [join.len(), 10] {
        let pieces = [Bytes::copy_from_slice(&join[..cut]), Bytes::copy_from_slice(&join[cut..])];
        pieces.iter().for_each(|piece| reader.push(piece.clone()));
        let frame = reader.next_frame().expect("well formed").expect("whole");
        assert_eq!(frame.into_body(), "", "of the frame cut at {cut}");
        assert!(pieces.iter().all(|piece| piece.is_empty() || piece.is_unique()), "cut at {cut}");
    }
}

#[test]
fn what_a_header_announces_is_checked_before_it_comes() {
    let cases = [
        (header(0x10, 101, 0), FrameError::TooManyGroups { count: 101, limit: 100 }),
        (header(0x10, u32::MAX, 0), FrameError::TooManyGroups { count: u32::MAX, limit: 100 }),
        (header(0x10, 0, 143_953), FrameError::TooLong { bytes: 143_953, limit: 143_952 }),
        (header(0x10, 1, 143_921), FrameError::TooLong { bytes: 143_953, limit: 143_952 }),
        (header(0x10, 0, u32::MAX), FrameError::TooLong { bytes: 0xffff_ffff, limit: 143_952 }),
    ];
    for (bytes, error) in cases {
        let mut reader = reader_with(&bytes[..HEADER_BYTES - 1]);
        assert_eq!(reader.next_frame(), Ok(None));
        reader.push(Bytes::copy_from_slice(&bytes[HEADER_BYTES - 1..]));
        assert_eq!(reader.next_frame(), Err(error));
        reader.push(Bytes::from(self::bytes(JOIN_REQUEST)));
        assert_eq!(reader.next_frame(), Err(error), "an unreadable stream stays unreadable");
        assert_eq!(reader.buffered_bytes(), 0);
    }
    for (groups, body) in [(100, 143_952 - 3200), (0, 143_952)] {
        assert_eq!(reader_with(&header(0x10, groups, body)).next_frame(), Ok(None));
    }
}

#[test]
fn only_daemons_send_the_word_of_a_reject() {
    let mut stream = header(REJECT, 1, 0).to_vec();
    stream.extend_from_slice(&JOIN.to_le_bytes());
    stream.extend_from_slice(&[b'g'; 32]);
    let mut reader = FrameReader::new(FrameLimits::FROM_DAEMON);
    reader.push(Bytes::from(stream.clone()));
    let frame = reader.next_frame().expect("well formed").expect("whole");
    assert_eq!((frame.rejected, frame.groups()), (Some(JOIN), [b'g'; 32].as_slice()));
    let frame = reader_with(&stream).next_frame().expect("well formed").expect("whole");
    assert_eq!((frame.rejected, frame.groups().first()), (None, Some(&0)));
}

#[test]
fn written_frames_read_back() {
    let sender = MemberName::parse(b"#alice#localhost").expect("legal");
    let groups = [b"one".as_slice(), b"two"].map(|name| GroupName::new(name).expect("legal"));
    let mut out = BytesMut::new();
    let fields = groups.iter().map(GroupName::as_field);
    put_frame(&mut out, 0x20 | SELF_DISCARD, sender.as_field(), Hint::new(-7), fields, b"body");
    let frame = reader_with(&out).next_frame().expect("well formed").expect("whole");
    assert_eq!(frame.header.flags, 0x20 | SELF_DISCARD);
    assert_eq!(MemberName::from_field(&frame.header.name), Ok(sender));
    assert_eq!(frame.header.hint.message_type(), -7);
    assert!(frame.group_fields().eq(groups.iter().map(GroupName::as_field)));
    assert_eq!((frame.body(), frame.whole().len()), (b"body".as_slice(), 48 + 64 + 4));
}

#[test]
fn who_reads_what_is_missing_reads_one_frame_at_a_time() {
    let frames = [bytes(JOIN_REQUEST), bytes(BIG_ENDIAN_DATA), bytes(JOIN_VIEW)];
    let stream = frames.concat();
    let mut rest = stream.as_slice();
    let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
    for frame in frames {
        let mut read = Vec::new();
        while read.len() < frame.len() {
            let (piece, after) = rest.split_at(reader.missing_bytes());
            reader.push(Bytes::copy_from_slice(piece));
            read.extend_from_slice(piece);
            rest = after;
            match reader.next_frame().expect("well formed") {
                Some(whole) => assert_eq!(*whole.whole(), frame),
                None => assert!(read.len() < frame.len()),
            }
        }
        assert_eq!(read, frame);
    }
    assert_eq!((reader.missing_bytes(), rest.len()), (HEADER_BYTES, 0));
}
