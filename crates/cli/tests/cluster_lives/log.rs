//! What clients write down.

use antiphon::{GroupId, ServiceLevel};

/// Which message: who sent it, in which of its lives, as which of its messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Id {
    pub(crate) client: u32,
    pub(crate) life: u32,
    pub(crate) number: u32,
}

impl Id {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [self.client, self.life, self.number].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self { client: word(0)?, life: word(4)?, number: word(8)? })
    }
}

/// A message as its sender remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: Id,
    pub(crate) group: String,
    /// Whether the sender was in the group.
    pub(crate) to_self: bool,
    /// The sender's view of that group when it sent. Views of other groups may have the same identity.
    pub(crate) view: Option<GroupId>,
}

/// A view as one of its members gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seat {
    pub(crate) group: String,
    pub(crate) id: GroupId,
    pub(crate) members: Vec<String>,
    /// Who came along from the last view, after a network change; nobody otherwise.
    pub(crate) company: Vec<String>,
}

/// What a client received.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Message { id: Id, service: ServiceLevel, group: String },
    View(Seat),
    Transition(String),
}

/// Everything of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) member: String,
    pub(crate) sent: Vec<Sent>,
    pub(crate) seen: Vec<Seen>,
    /// The connection broke, so that the end may be missing.
    pub(crate) broken: bool,
}

impl Log {
    pub(crate) fn messages(&self) -> impl Iterator<Item = (Id, ServiceLevel, &str)> {
        self.seen.iter().filter_map(|seen| match seen {
            Seen::Message { id, service, group } => Some((*id, *service, group.as_str())),
            _ => None,
        })
    }

    pub(crate) fn ordered(&self) -> impl Iterator<Item = Id> {
        self.messages().filter(|(_, service, _)| service.is_ordered()).map(|(id, ..)| id)
    }

    pub(crate) fn views(&self, group: &str) -> impl DoubleEndedIterator<Item = &Seat> {
        self.seen.iter().filter_map(move |seen| match seen {
            Seen::View(view) if view.group == group => Some(view),
            _ => None,
        })
    }
}
