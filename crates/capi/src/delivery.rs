//! What is handed to a program, and the room that it has for it.

use std::ffi::c_int;

use antiphon_wire::client::flags::DROP_RECV;
use antiphon_wire::names::NAME_FIELD_BYTES;

use crate::codes::Code;

/// Room for what is received, and what was put there. Fields beside the two rooms are written always.
#[derive(Debug)]
pub(crate) struct Room<'a, 'b> {
    /// In: whether what does not fit may be dropped. Out: what was received.
    pub(crate) service: c_int,
    pub(crate) sender: [u8; NAME_FIELD_BYTES],
    pub(crate) groups: &'a mut [[u8; NAME_FIELD_BYTES]],
    /// How many groups there are; negative when they do not all fit.
    pub(crate) group_count: c_int,
    pub(crate) message_type: i16,
    /// 1 when the sender has another byte order; the negative size of a body that does not fit.
    pub(crate) endian_mismatch: c_int,
    pub(crate) body: &'a mut [&'b mut [u8]],
}

/// What is known of a delivery before all of it is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    pub(crate) groups: usize,
    pub(crate) body_bytes: usize,
}

/// Something to receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) service: u32,
    pub(crate) sender: [u8; NAME_FIELD_BYTES],
    pub(crate) groups: &'a [[u8; NAME_FIELD_BYTES]],
    pub(crate) message_type: i16,
    pub(crate) endian_mismatch: bool,
    pub(crate) body: &'a [u8],
}

impl Delivery<'_> {
    pub(crate) fn size(&self) -> Size {
        Size { groups: self.groups.len(), body_bytes: self.body.len() }
    }
}

impl<'a, 'b> Room<'a, 'b> {
    /// Room that has nothing in it.
    pub(crate) fn new(
        service: c_int,
        groups: &'a mut [[u8; NAME_FIELD_BYTES]],
        body: &'a mut [&'b mut [u8]],
    ) -> Self {
        let sender = [0; NAME_FIELD_BYTES];
        Self { service, sender, groups, group_count: 0, message_type: 0, endian_mismatch: 0, body }
    }

    /// Whether the program lets what does not fit be dropped.
    pub(crate) fn may_drop(&self) -> bool {
        self.service as u32 & DROP_RECV != 0
    }

    /// What the program is told when a delivery does not fit; `None` when it does.
    pub(crate) fn shortage(&self, size: Size) -> Option<Code> {
        if size.groups > self.groups.len() {
            Some(Code::GroupsTooShort)
        } else if size.body_bytes > self.body_room() {
            Some(Code::BufferTooShort)
        } else {
            None
        }
    }

    /// Describes a delivery that stays where it is, because there is too little room for it.
    pub(crate) fn describe(&mut self, delivery: &Delivery<'_>, size: Size) {
        self.service = delivery.service as c_int;
        self.sender = delivery.sender;
        self.message_type = delivery.message_type;
        self.group_count = if size.groups > self.groups.len() { negative(size.groups) } else { 0 };
        self.endian_mismatch = if size.body_bytes > self.body_room() { negative(size.body_bytes) } else { 0 };
    }

    /// Puts in what fits; the result is that of the function that receives. Lost groups are told by their
    /// negative number only, a lost part of a body is an error.
    pub(crate) fn take(&mut self, delivery: &Delivery<'_>) -> Result<c_int, Code> {
        let size = delivery.size();
        self.describe(delivery, size);
        for (to, from) in self.groups.iter_mut().zip(delivery.groups) {
            *to = *from;
        }
        if self.group_count == 0 {
            self.group_count = c_int::try_from(size.groups).unwrap_or(c_int::MAX);
        }
        let mut rest = delivery.body;
        for piece in self.body.iter_mut() {
            let (now, later) = rest.split_at(rest.len().min(piece.len()));
            if let Some(room) = piece.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            rest = later;
        }
        if !rest.is_empty() {
            return Err(Code::BufferTooShort);
        }
        self.endian_mismatch = delivery.endian_mismatch.into();
        Ok(c_int::try_from(size.body_bytes).unwrap_or(c_int::MAX))
    }

    fn body_room(&self) -> usize {
        self.body.iter().map(|piece| piece.len()).sum()
    }
}

fn negative(count: usize) -> c_int {
    c_int::try_from(count).map_or(c_int::MIN, |count| -count)
}
