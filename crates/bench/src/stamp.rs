//! What a sender writes at the start of a body.
//!
//! ```text
//! 0        4                 12                20
//! | sender | number          | due             | anything …      all little-endian
//! ```

/// Length of a stamp.
pub const STAMP_BYTES: usize = 20;

/// Who sent a message, which of its messages it is, and when it was due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Index of the sender in the run.
    pub sender: u32,
    /// Count of the messages that this sender sent before.
    pub number: u64,
    /// When it should have been sent, in nanoseconds of the run's clock.
    pub due_ns: u64,
}

impl Stamp {
    /// Writes the stamp over the start of `body`; a shorter body stays as it is.
    pub fn write(self, body: &mut [u8]) {
        let Some(start) = body.first_chunk_mut::<STAMP_BYTES>() else { return };
        start[..4].copy_from_slice(&self.sender.to_le_bytes());
        start[4..12].copy_from_slice(&self.number.to_le_bytes());
        start[12..].copy_from_slice(&self.due_ns.to_le_bytes());
    }

    /// Reads the stamp of a body; `None` when it is too short to have one.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let (sender, rest) = body.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (due, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            sender: u32::from_le_bytes(*sender),
            number: u64::from_le_bytes(*number),
            due_ns: u64::from_le_bytes(*due),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let stamp = Stamp { sender: 7, number: 1 << 40, due_ns: u64::MAX };
        let mut body = [9; STAMP_BYTES + 1];
        stamp.write(&mut body);
        assert_eq!(Stamp::read(&body), Some(stamp));
        assert_eq!(body.last(), Some(&9));
        assert_eq!(Stamp::read(&body[..STAMP_BYTES - 1]), None);
    }
}
