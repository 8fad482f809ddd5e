//! A client's multicast between daemons: its frame without what every frame pads.
//!
//! ```text
//! v flags · v hint · sender, or a field · v groups, each a field · body (up to the end)
//! field   length u8 · the 32 bytes of a name without the NULs at their end
//! sender  of a session that says its name and nothing else: 128 + length u8 · its private name; the rest
//!         of it is the daemon that packed
//! hint    its four bytes: message type · mark of the last byte · mark of the first byte, lowest bit
//! ```
//!
//! A `v` number is that of [`Reader::number`]. Where a frame has 80 bytes before its body, this has about
//! 15; on a network of 100 Mbit/s that is a third of what messages of 100 bytes cost.

use bytes::{BufMut, Bytes, BytesMut};

use crate::client::flags::{HEADER_BYTES, MAX_GROUPS};
use crate::client::frame::Frame;
use crate::client::header::{Header, Hint};
use crate::names::{DaemonName, MemberName, NAME_FIELD_BYTES, PrivateName, unpadded};
use crate::reader::{DecodeError, Reader, put_number};

type Field = [u8; NAME_FIELD_BYTES];

/// Bit of the sender's length that says that the private name follows.
const PRIVATE: u8 = 0x80;

/// Bits of a hint that its message type does not use, in its first and its last byte.
const MARK: u8 = 0x80;

/// Appends everything before the body, for the session `member`. Flags, hint and groups stay what they
/// are; the last byte of the sender's field becomes its terminator (client protocol §5.1).
///
/// The hint must have no foreign bits ([`Hint::has_foreign_bits`]): they are lost.
pub fn put_packed_head(frame: &Frame, member: &MemberName, to: &mut BytesMut) {
    put_number(frame.header.flags as usize, to);
    put_number(hint_number(frame.header.hint), to);
    put_sender(&frame.header.ended_name(), member, to);
    let groups = frame.group_fields();
    put_number(groups.len(), to);
    groups.for_each(|group| put_field(group, to));
}

/// What [`unpack`] returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// The header of the frame.
    pub header: Header,
    /// Its body.
    pub body: Bytes,
}

/// Takes a multicast apart that `daemon` has packed. Header and groups of the frame, as its receivers read
/// them, go to `head`, in place of what is there.
///
/// # Errors
/// When a field is longer than a name's, the sender's is not terminated or no private name, or something is
/// missing.
pub fn unpack(packed: &Bytes, daemon: &DaemonName, head: &mut BytesMut) -> Result<Unpacked, DecodeError> {
    let mut reader = Reader::new(packed.clone(), "multicast");
    let flags = reader.number()?;
    let hint = reader.number()?;
    let hint = hint_of(hint).ok_or_else(|| reader.bad_value("hint", u64::from(hint)))?;
    let name = sender(&mut reader, daemon)?;
    let count = reader.number()?;
    if count > MAX_GROUPS {
        return Err(reader.bad_value("number of groups", u64::from(count)));
    }
    head.clear();
    head.resize(HEADER_BYTES, 0);
    for _ in 0..count {
        let length = reader.u8()?;
        head.put_slice(&field(length, NAME_FIELD_BYTES, &mut reader)?);
    }
    let body = reader.take(reader.remaining())?;
    let body_bytes = body.len() as u32;
    let header = Header { flags, name, group_count: count, hint, body_bytes, little_endian: true };
    if let Some(place) = head.first_chunk_mut() {
        *place = header.encode();
    }
    Ok(Unpacked { header, body })
}

/// The whole frame, in one piece.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_frame(packed: &Bytes, daemon: &DaemonName) -> Result<Bytes, DecodeError> {
    let mut frame = BytesMut::new();
    let unpacked = unpack(packed, daemon, &mut frame)?;
    frame.put_slice(&unpacked.body);
    Ok(frame.freeze())
}

fn hint_number(Hint([first, low, high, last]): Hint) -> usize {
    usize::from(u16::from_le_bytes([low, high])) << 2 | usize::from(last >> 7) << 1 | usize::from(first >> 7)
}

fn hint_of(number: u32) -> Option<Hint> {
    let [low, high] = u16::try_from(number >> 2).ok()?.to_le_bytes();
    let mark = |bit: u32| if number & bit == 0 { 0 } else { MARK };
    Some(Hint([mark(1), low, high, mark(2)]))
}

fn put_sender(field: &Field, member: &MemberName, to: &mut BytesMut) {
    if field == member.as_field() {
        let private = member.private();
        to.put_u8(PRIVATE | private.len() as u8);
        to.put_slice(private);
    } else {
        put_field(field, to);
    }
}

fn sender(reader: &mut Reader, daemon: &DaemonName) -> Result<Field, DecodeError> {
    let length = reader.u8()?;
    if length & PRIVATE == 0 {
        return field(length, NAME_FIELD_BYTES - 1, reader);
    }
    let length = usize::from(length & !PRIVATE);
    let mut name = [0; NAME_FIELD_BYTES];
    let private = name.get_mut(1..=length);
    let private = private.ok_or_else(|| reader.bad_value("length of a private name", length as u64))?;
    reader.fill(private)?;
    PrivateName::check(private).map_err(|_| reader.bad_value("private name", length as u64))?;
    Ok(*MemberName::around(name, length, daemon).as_field())
}

fn put_field(field: &Field, to: &mut BytesMut) {
    let name = unpadded(field);
    to.put_u8(name.len() as u8);
    to.put_slice(name);
}

fn field(length: u8, limit: usize, reader: &mut Reader) -> Result<Field, DecodeError> {
    let length = usize::from(length);
    let mut field = [0; NAME_FIELD_BYTES];
    match field.get_mut(..length) {
        Some(start) if length <= limit => reader.fill(start)?,
        _ => return Err(reader.bad_value("length of a name", length as u64)),
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::frame::{FrameLimits, FrameReader, put_head};
    use crate::client::golden::{BIG_ENDIAN_DATA, BIG_ENDIAN_DELIVERED, bytes};

    fn frame(bytes: &[u8]) -> Frame {
        let mut reader = FrameReader::new(FrameLimits::FROM_CLIENT);
        reader.push(Bytes::copy_from_slice(bytes));
        reader.next_frame().expect("well formed").expect("whole")
    }

    fn member(name: &str) -> MemberName {
        MemberName::parse(name.as_bytes()).expect("a member name")
    }

    /// As the daemon of `#alice#localhost` does.
    fn packed(bytes: &[u8]) -> Bytes {
        let frame = frame(bytes);
        let mut packed = BytesMut::new();
        put_packed_head(&frame, &member("#alice#localhost"), &mut packed);
        packed.put_slice(&frame.body);
        packed.freeze()
    }

    fn unpacked(packed: &Bytes) -> Result<Bytes, DecodeError> {
        unpack_frame(packed, &DaemonName::new(b"localhost").expect("legal"))
    }

    fn of_little_endian(sender: &[u8], hint: Hint, groups: &[&[u8]], body: &[u8]) -> BytesMut {
        let field = |name: &[u8]| std::array::from_fn(|at| name.get(at).copied().unwrap_or(0));
        let fields: Vec<Field> = groups.iter().map(|group| field(group)).collect();
        let mut frame = BytesMut::new();
        put_head(&mut frame, 0x10, &field(sender), hint, fields.iter(), body.len());
        frame.put_slice(body);
        frame
    }

    #[test]
    fn a_frame_comes_back_to_the_byte() {
        let hints = [Hint::new(7), Hint([0, 0x12, 0x34, 0]), Hint([0x80, 1, 0xff, 0]), Hint([0, 0, 0, 0x80])];
        for hint in hints {
            for groups in [vec![b"g".as_slice()], vec![&[b'x'; 32], b"", b"grp\0JUNK"], vec![b"g"; 100]] {
                let sent = of_little_endian(b"#alice#localhost\0JUNK", hint, &groups, b"body\0\0");
                assert_eq!(unpacked(&packed(&sent)).as_deref(), Ok(&sent[..]));
            }
        }
        let sent = of_little_endian(b"#alice#localhost", Hint::new(7), &[b"group"], &[0; 100]);
        assert_eq!(unpacked(&packed(&sent)).as_deref(), Ok(&sent[..]));
        assert_eq!((sent.len(), packed(&sent).len()), (180, 115));
    }

    #[test]
    fn receivers_get_a_little_endian_header_and_an_ended_sender() {
        let delivered = bytes(BIG_ENDIAN_DELIVERED);
        assert_eq!(unpacked(&packed(&bytes(BIG_ENDIAN_DATA))).as_deref(), Ok(&delivered[..]));
        let mut unended = delivered.clone();
        unended[35] = b'x';
        assert_eq!(unpacked(&packed(&unended)).as_deref(), Ok(&delivered[..]));
    }

    #[test]
    fn what_is_no_multicast_is_refused() {
        let sent = packed(&of_little_endian(b"#a#d", Hint::new(7), &[b"g"], b""));
        assert_eq!(&sent[..], b"\x10\x1f\x04#a#d\x01\x01g");
        for end in 0..sent.len() {
            assert!(unpacked(&sent.slice(..end)).is_err(), "cut after {end} bytes");
        }
        for (what, at, byte) in
            [("a sender without terminator", 2, 32), ("101 groups", 7, 101), ("33 bytes", 8, 33)]
        {
            let mut bad = sent.to_vec();
            bad[at] = byte;
            bad.extend_from_slice(&[b'y'; 4000]);
            assert!(unpacked(&bad.into()).is_err(), "{what}");
        }
        let short = packed(&of_little_endian(b"#alice#localhost", Hint::new(7), &[b"g"], b""));
        assert_eq!(&short[..], b"\x10\x1f\x85alice\x01\x01g");
        for end in 0..short.len() {
            assert!(unpacked(&short.slice(..end)).is_err(), "cut after {end} bytes");
        }
        for private in [&b"\x80"[..], b"\x8baaaaaaaaaaa", b"\x82a#", b"\x81\0"] {
            let bad = [b"\x10\x1f", private, b"\x01\x01g"].concat();
            assert!(unpacked(&bad.into()).is_err(), "{private:?} is no private name");
        }
        let large_flags = Bytes::from_static(b"\xff\xff\xff\xff\x7f\x1f\x04#a#d\x01\x01g");
        assert!(unpacked(&large_flags).is_err());
    }
}
