//! How much is put into outboxes before the host has come to all of them.
//!
//! One packet may bring a message for a thousand sessions, a change of a group that each of them is shown with
//! all its members, or the end of a session in ten thousand groups. What is to be handed up for the packets of a
//! round can so take longer than the others wait for the token. Only so many frames are therefore put into
//! outboxes, and the rest waits until the host has offered these to their sockets
//! ([`crate::Input::OutboxesOffered`]), which it says when half of the frames are there, so that one who keeps up
//! never waits. The ring goes on meanwhile, no faster than this daemon hands up.

/// Bytes that are built for a message which shows members, and take as long as another frame.
const BUILT_BYTES_A_FRAME: usize = 128;
/// Bytes of a frame that take as long to write, and for their reader to read, as another frame.
const WRITTEN_BYTES_A_FRAME: usize = 512;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct FrameBudget {
    /// Frames that may still be put into outboxes.
    left: usize,
    /// When no more than so many are left, the host is to say that it has offered the rest.
    half: usize,
}

impl FrameBudget {
    /// Outboxes were offered to their sockets.
    pub(super) fn new(frames_at_once: usize) -> Self {
        Self { left: frames_at_once, half: frames_at_once / 2 }
    }

    /// A frame of so many bytes was put into an outbox.
    pub(super) fn note_frame(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(1 + bytes / WRITTEN_BYTES_A_FRAME);
    }

    /// A message of so many bytes was built.
    pub(super) fn note_built(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes / BUILT_BYTES_A_FRAME);
    }

    /// So many memberships began or ended, each of which takes about as long as a frame, also where nobody is told.
    pub(super) fn note_changes(&mut self, memberships: usize) {
        self.left = self.left.saturating_sub(memberships);
    }

    /// Whether the rest must wait.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Whether the rest may soon have to wait.
    pub(super) fn is_half_spent(&self) -> bool {
        self.left <= self.half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_what_is_built_for_them_are_handed_up_so_far() {
        let mut budget = FrameBudget::new(5);
        budget.note_frame(100);
        budget.note_built(BUILT_BYTES_A_FRAME);
        assert!(!budget.is_half_spent());
        budget.note_frame(WRITTEN_BYTES_A_FRAME);
        assert!(budget.is_half_spent() && !budget.is_spent());
        budget.note_frame(WRITTEN_BYTES_A_FRAME);
        assert!(budget.is_spent());
        let mut budget = FrameBudget::new(5);
        budget.note_changes(4);
        assert!(!budget.is_spent());
        budget.note_changes(10_000);
        assert!(budget.is_spent());
    }
}
