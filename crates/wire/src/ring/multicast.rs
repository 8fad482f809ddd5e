//! A client's multicast between daemons: its frame without what every frame pads.
//!
//! ```text
//! preamble  v flags · sender, or a field · v groups, each a field
//! rest      v hint · body (up to the end)
//! field     length u8 · the 32 bytes of a name without the NULs at their end
//! sender    of a session that says its name and nothing else: 128 + length u8 · its private name; the rest
//!           of it is the daemon that packed
//! hint      its four bytes: message type · mark of the last byte · mark of the first byte, lowest bit
//! ```
//!
//! A `v` number is that of [`Reader::number`]. Where a frame has 80 bytes before its body, this has about
//! 15, and most messages of a client have the preamble of the one before, so that it need not be sent
//! ([`super::chunk::Preamble`]). On a network of 100 Mbit/s that is two fifths of what messages of 100 bytes cost.

use bytes::{BufMut, Bytes, BytesMut};

use crate::client::flags::{HEADER_BYTES, MAX_GROUPS};
use crate::client::frame::Frame;
use crate::client::header::{Header, Hint};
use crate::names::{DaemonName, GROUP_NAME_MAX_BYTES, MemberName, NAME_FIELD_BYTES, PrivateName, unpadded};
use crate::reader::{DecodeError, Reader, put_number};

type Field = [u8; NAME_FIELD_BYTES];

/// Bit of the sender's length that says that the private name follows.
const PRIVATE: u8 = 0x80;

/// Bits of a hint that its message type does not use, in its first and its last byte.
const MARK: u8 = 0x80;

/// Appends everything before the body, for the session `member`; returns how many bytes of it are the
/// preamble. Flags and hint stay what they are; the last byte of the sender's field, and of a
/// group's that has no terminator, becomes one (docs/protocol.md, P1a).
///
/// The hint must have no foreign bits ([`Hint::has_foreign_bits`]): they are lost.
pub fn put_packed_head(frame: &Frame, member: &MemberName, to: &mut BytesMut) -> usize {
    let before = to.len();
    put_number(frame.header.flags as usize, to);
    put_sender(&frame.header.ended_name(), member, to);
    let groups = frame.group_fields();
    put_number(groups.len(), to);
    groups.for_each(|group| put_field(group, to));
    let preamble_bytes = to.len() - before;
    put_number(hint_number(frame.header.hint), to);
    preamble_bytes
}

/// Takes multicasts apart. It keeps the last preamble as it was read: mostly the next one is the same.
#[derive(Debug, Default)]
pub struct Unpacker {
    /// Header and groups of the last frame, as its receivers read them.
    head: BytesMut,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    preamble: Bytes,
    daemon: DaemonName,
    header: Header,
}

impl Last {
    fn is(&self, preamble: &Bytes, daemon: &DaemonName) -> bool {
        // Mostly it is the same down to its place in memory, which is seen sooner.
        let is_same = std::ptr::eq::<[u8]>(&*self.preamble, &**preamble) || self.preamble == preamble;
        is_same && self.daemon == *daemon
    }
}

/// What [`Unpacker::unpack`] returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unpacked<'a> {
    /// The header of the frame.
    pub header: Header,
    /// Its body.
    pub body: &'a [u8],
}

impl Unpacker {
    /// Takes a multicast apart that `daemon` has packed. With an empty `preamble` it is all in `rest`.
    ///
    /// # Errors
    /// When a field is longer than a name's, the sender's is not terminated or no private name, or something
    /// is missing.
    pub fn unpack<'a>(
        &mut self,
        preamble: &Bytes,
        rest: &'a [u8],
        daemon: &DaemonName,
    ) -> Result<Unpacked<'a>, DecodeError> {
        let mut rest = Reader::new(rest, "multicast");
        let last = self.last.as_ref().filter(|last| last.is(preamble, daemon));
        let mut header = match last {
            Some(last) => last.header,
            None => self.read_preamble(preamble, &mut rest, daemon)?,
        };
        let hint = rest.number()?;
        header.hint = hint_of(hint).ok_or_else(|| rest.bad_value("hint", u64::from(hint)))?;
        let body = rest.take_rest();
        header.body_bytes = body.len() as u32;
        if let Some(place) = self.head.first_chunk_mut() {
            *place = header.encode();
        }
        Ok(Unpacked { header, body })
    }

    /// Header and groups of the last frame, as its receivers read them.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    fn read_preamble(
        &mut self,
        preamble: &Bytes,
        rest: &mut Reader<'_>,
        daemon: &DaemonName,
    ) -> Result<Header, DecodeError> {
        self.last = None;
        if preamble.is_empty() {
            return self.read_fields(rest, daemon);
        }
        let mut reader = Reader::new(preamble, "preamble of a multicast");
        let header = self.read_fields(&mut reader, daemon)?;
        reader.finish()?;
        self.last = Some(Last { preamble: preamble.clone(), daemon: *daemon, header });
        Ok(header)
    }

    /// The groups go behind the place of the header, which is without hint and length yet.
    fn read_fields(&mut self, reader: &mut Reader<'_>, daemon: &DaemonName) -> Result<Header, DecodeError> {
        let flags = reader.number()?;
        let name = sender(reader, daemon)?;
        let group_count = reader.number()?;
        if group_count > MAX_GROUPS {
            return Err(reader.bad_value("number of groups", u64::from(group_count)));
        }
        self.head.clear();
        self.head.resize(HEADER_BYTES, 0);
        for _ in 0..group_count {
            let length = reader.u8()?;
            self.head.put_slice(&field(length, NAME_FIELD_BYTES, reader)?);
        }
        Ok(Header { flags, name, group_count, hint: Hint::new(0), body_bytes: 0, little_endian: true })
    }
}

/// The whole frame, in one piece, of a multicast in one piece.
///
/// # Errors
/// As [`Unpacker::unpack`].
pub fn unpack_frame(packed: &Bytes, daemon: &DaemonName) -> Result<Bytes, DecodeError> {
    let mut unpacker = Unpacker::default();
    let unpacked = unpacker.unpack(&Bytes::new(), packed, daemon)?;
    unpacker.head.put_slice(unpacked.body);
    Ok(unpacker.head.freeze())
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

fn sender(reader: &mut Reader<'_>, daemon: &DaemonName) -> Result<Field, DecodeError> {
    let length = reader.u8()?;
    if length & PRIVATE == 0 {
        return field(length, GROUP_NAME_MAX_BYTES, reader);
    }
    let length = usize::from(length & !PRIVATE);
    let private = PrivateName::new(reader.take(length)?);
    let private = private.map_err(|_| reader.bad_value("private name", length as u64))?;
    Ok(*MemberName::new(&private, daemon).as_field())
}

fn put_field(field: &Field, to: &mut BytesMut) {
    let mut name = unpadded(field);
    if name.len() == NAME_FIELD_BYTES {
        name = ended(name);
    }
    to.put_u8(name.len() as u8);
    to.put_slice(name);
}

/// In a field without a terminator its last byte becomes one: programs read on behind it.
#[cold]
fn ended(name: &[u8]) -> &[u8] {
    match name {
        [ended @ .., _] if !name.contains(&0) => ended,
        _ => name,
    }
}

fn field(length: u8, limit: usize, reader: &mut Reader<'_>) -> Result<Field, DecodeError> {
    let length = usize::from(length);
    let mut field = [0; NAME_FIELD_BYTES];
    match field.get_mut(..length) {
        Some(start) if length <= limit => start.copy_from_slice(reader.take(length)?),
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
        packed.put_slice(frame.body());
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
            for groups in [
                vec![b"g".as_slice()],
                vec![&[b'x'; 31], b"", b"grp\0JUNK", b"grp\0JUNKJUNKJUNKJUNKJUNKJUNKJUNK"],
                vec![b"g"; 100],
            ] {
                let sent = of_little_endian(b"#alice#localhost\0JUNK", hint, &groups, b"body\0\0");
                assert_eq!(unpacked(&packed(&sent)).as_deref(), Ok(&sent[..]));
            }
        }
        let sent = of_little_endian(b"#alice#localhost", Hint::new(7), &[b"group"], &[0; 100]);
        assert_eq!(unpacked(&packed(&sent)).as_deref(), Ok(&sent[..]));
        assert_eq!((sent.len(), packed(&sent).len()), (180, 115));
    }

    #[test]
    fn receivers_get_a_little_endian_header_and_ended_names() {
        let delivered = bytes(BIG_ENDIAN_DELIVERED);
        assert_eq!(unpacked(&packed(&bytes(BIG_ENDIAN_DATA))).as_deref(), Ok(&delivered[..]));
        let mut unended = delivered.clone();
        unended[35] = b'x';
        assert_eq!(unpacked(&packed(&unended)).as_deref(), Ok(&delivered[..]));
        let of_group =
            |length: usize| of_little_endian(b"#a#d", Hint::new(7), &[&vec![b'x'; length]], b"body");
        assert_eq!(unpacked(&packed(&of_group(32))).as_deref(), Ok(&of_group(31)[..]));
    }

    #[test]
    fn a_preamble_that_comes_apart_is_read_once_and_forgotten_with_the_next() {
        let daemon = DaemonName::new(b"localhost").expect("legal");
        let mut unpacker = Unpacker::default();
        for (group, hint, body) in [("a", 1, "x"), ("a", 2, "yy"), ("b", 2, ""), ("a", 3, "x")] {
            let sent =
                of_little_endian(b"#alice#localhost", Hint::new(hint), &[group.as_bytes()], body.as_bytes());
            let mut head = BytesMut::new();
            let preamble_bytes = put_packed_head(&frame(&sent), &member("#alice#localhost"), &mut head);
            let mut rest = head.split_off(preamble_bytes);
            rest.put_slice(body.as_bytes());
            let preamble = head.freeze();
            let unpacked = unpacker.unpack(&preamble, &rest, &daemon).expect("packed");
            assert_eq!([unpacker.head(), unpacked.body].concat(), sent);
            let elsewhere = DaemonName::new(b"elsewhere").expect("legal");
            let other = unpacker.unpack(&preamble, b"\x1f", &elsewhere).expect("packed");
            assert_eq!(&other.header.name[..17], b"#alice#elsewhere\0");
            for part in [preamble.slice(1..), preamble.slice(..preamble_bytes - 1)] {
                assert!(unpacker.unpack(&part, b"\x1f", &daemon).is_err());
            }
        }
    }

    #[test]
    fn what_is_no_multicast_is_refused() {
        let sent = packed(&of_little_endian(b"#a#d", Hint::new(7), &[b"g"], b""));
        assert_eq!(&sent[..], b"\x10\x04#a#d\x01\x01g\x1f");
        for end in 0..sent.len() {
            assert!(unpacked(&sent.slice(..end)).is_err(), "cut after {end} bytes");
        }
        for (what, at, byte) in
            [("a sender without terminator", 1, 32), ("101 groups", 6, 101), ("33 bytes", 7, 33)]
        {
            let mut bad = sent.to_vec();
            bad[at] = byte;
            bad.extend_from_slice(&[b'y'; 4000]);
            assert!(unpacked(&bad.into()).is_err(), "{what}");
        }
        let short = packed(&of_little_endian(b"#alice#localhost", Hint::new(7), &[b"g"], b""));
        assert_eq!(&short[..], b"\x10\x85alice\x01\x01g\x1f");
        for end in 0..short.len() {
            assert!(unpacked(&short.slice(..end)).is_err(), "cut after {end} bytes");
        }
        for private in [&b"\x80"[..], b"\x8baaaaaaaaaaa", b"\x82a#", b"\x81\0"] {
            let bad = [b"\x10", private, b"\x01\x01g\x1f"].concat();
            assert!(unpacked(&bad.into()).is_err(), "{private:?} is no private name");
        }
        let large_flags = Bytes::from_static(b"\xff\xff\xff\xff\x7f\x04#a#d\x01\x01g\x1f");
        assert!(unpacked(&large_flags).is_err());
    }
}
