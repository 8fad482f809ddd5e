//! The memory that clients make a daemon take: all together have a limit, as there may be thousands of them.
//!
//! It takes what they have not read, and what they have sent of requests that are not whole. What is large lies in
//! the memory once for all who have not read it, and for as long as one of them has not: so it is counted where it
//! lies, and not by what each of them is owed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_wire::ids::SessionId;
use bytes::{Buf, Bytes};

use super::{Session, Sessions};
use crate::cx::Cx;
use crate::io::CloseReason;

/// Once the limit is passed, sessions are closed until this much of eight parts is left, so that it is not
/// passed again with the next message.
const KEPT_OF_EIGHT: usize = 7;

/// Bytes that are counted together, by all clones.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<AtomicUsize>);

impl Memory {
    /// How many there are.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.change(|all| all + bytes);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.change(|all| all - bytes);
    }

    /// Sessions and all that counts for them are in the hands of one thread: there is nobody to race with.
    fn change(&self, to: impl FnOnce(usize) -> usize) {
        self.0.store(to(self.bytes()), Ordering::Relaxed);
    }

    /// Counts bytes for as long as anybody has them.
    pub(super) fn count(&self, bytes: Bytes) -> Bytes {
        self.add(bytes.len());
        Bytes::from_owner(CountedBytes { bytes, memory: self.clone() })
    }
}

struct CountedBytes {
    bytes: Bytes,
    memory: Memory,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.memory.remove(self.bytes.len());
    }
}

impl Session {
    /// Counts what it has sent of a request that is not whole.
    pub(super) fn count_begun(&mut self, memory: &Memory) {
        memory.remove(self.begun_bytes);
        self.begun_bytes = self.reader.buffered_bytes();
        memory.add(self.begun_bytes);
    }

    /// What it has not read, and what it has sent of a request.
    fn kept_bytes(&self) -> usize {
        self.outbox.remaining() + self.begun_bytes
    }
}

impl Sessions {
    /// Closes the sessions of which the most is kept if what is kept of all is too much. What several share is free
    /// only once all of them are closed, so these may be many, if none of them reads.
    pub(super) fn relieve(&mut self, cx: &mut Cx<'_>) {
        let limit = cx.config.sessions.max_kept_bytes;
        if self.outflow.memory.bytes() <= limit {
            return;
        }
        let sessions = self.established.iter();
        let mut sessions: Vec<(usize, SessionId)> =
            sessions.map(|(id, session)| (session.kept_bytes(), id)).collect();
        sessions.sort_unstable();
        while self.outflow.memory.bytes() > limit / 8 * KEPT_OF_EIGHT
            && let Some((_, furthest)) = sessions.pop()
        {
            self.close(furthest, CloseReason::OutboxesFull, cx);
        }
    }
}
