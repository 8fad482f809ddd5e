//! One group: which view is installed, and what is on the way to the next.
//!
//! ```text
//! no view ── change: acknowledge ─────────────▶ waiting for acknowledgements ──┐
//! Open ── change: Event::FlushRequest ──▶ Requested ── flush ──▶ Flushed ──────┤
//!   ▲                                                                          │ all have acknowledged
//!   └──────────────────── view installed, receipt sent ◀───────────────────────┘
//! ```
//!
//! A further change on the way replaces the one that was pending; a member that had flushed
//! acknowledges the new one by itself. Sending is forbidden in `Flushed` only.

use std::collections::{BTreeSet, VecDeque};

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::names::{GroupName, MemberName};

use super::mutant::{Mutant, Planted};
use super::wire::Meaning;
use super::{Event, FlushError, Request, View};
use crate::message;
use crate::message::{Change, Message};

/// Acknowledgements and receipts for views not pending yet that are kept; the oldest give way. Only
/// daemons that let FIFO messages overtake views make any that are needed.
const EARLY_LIMIT: usize = 16_384;
/// Changes of the group after which one that was kept is for no view to come.
const EARLY_CHANGES: u64 = 200;
/// Messages of the pending view that are kept for it, and the bytes of their bodies.
const HELD_LIMIT: usize = 65_536;
const HELD_LIMIT_BYTES: usize = 64 << 20;

/// What a group tells the layer to do.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) requests: Vec<Request>,
    pub(super) events: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct Group {
    name: GroupName,
    me: MemberName,
    leaving: bool,
    installed: Option<Installed>,
    pending: Option<Pending>,
    /// Changes that the daemon told of.
    changes: u64,
    /// Acknowledgements and receipts that may be for views to come, oldest first.
    early: VecDeque<Early>,
    planted: Planted,
}

#[derive(Debug)]
struct Early {
    kind: Kind,
    id: GroupId,
    sender: MemberName,
    /// Count of changes when it came.
    change: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Acknowledgement,
    Receipt,
}

/// The view that the program has.
#[derive(Debug)]
struct Installed {
    id: GroupId,
    phase: Phase,
    /// Members that came through all changes since then together with this one.
    together: BTreeSet<MemberName>,
    /// Members that may not have installed it yet: what is sent must be marked.
    unconfirmed: BTreeSet<MemberName>,
    transition_told: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    Requested,
    Flushed,
}

/// A change within a transitional configuration makes a view that only stands in until the regular one;
/// the daemon says so by a transition directly behind it. One that comes later,
/// or behind the view of a regular configuration, is the sign of another network change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Nothing has followed it.
    Unknown,
    /// It stands in, and those whom it parted are heard until the next view.
    In,
    /// It stands for itself.
    Alone,
}

/// The newest change that the daemon told of.
#[derive(Debug)]
struct Pending {
    view: message::View,
    /// Whether it is the only change since the installed view.
    single: bool,
    silent: BTreeSet<MemberName>,
    /// Members of the view that this change parted from this member.
    parted: BTreeSet<MemberName>,
    /// What the view is, as far as what followed it tells.
    standing: Standing,
    held: VecDeque<Message>,
    held_bytes: usize,
}

impl Standing {
    /// What a view tells by itself: a regular configuration makes the ids of a group that it changes count
    /// from 1, and those of a transitional one count on from there.
    fn of(view: &message::View) -> Self {
        if view.change == Change::Network && view.id.counter > 1 { Self::Unknown } else { Self::Alone }
    }
}

impl Group {
    pub(super) fn new(name: GroupName, me: MemberName, planted: Planted) -> Self {
        Self {
            name,
            me,
            leaving: false,
            installed: None,
            pending: None,
            changes: 0,
            early: VecDeque::new(),
            planted,
        }
    }

    /// Whether this client is a full member, which can send, flush and leave.
    pub(super) fn is_member(&self) -> bool {
        self.installed.is_some() && !self.leaving
    }

    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// The program has nothing more to send in the installed view.
    pub(super) fn flush(&mut self, out: &mut Output) -> Result<(), FlushError> {
        let installed = self.installed.as_mut().filter(|_| !self.leaving).ok_or(FlushError::NotAMember)?;
        if installed.phase != Phase::Requested {
            return Err(FlushError::NotRequested);
        }
        installed.phase = Phase::Flushed;
        self.acknowledge(out);
        Ok(())
    }

    /// Whether a message may be sent to `receivers` now; the view to mark it with, if it must be.
    pub(super) fn may_send(&self, receivers: &[MemberName]) -> Result<Option<GroupId>, FlushError> {
        let installed = self.installed.as_ref().filter(|_| !self.leaving).ok_or(FlushError::NotAMember)?;
        if installed.phase == Phase::Flushed && !self.planted.is(Mutant::SendAfterFlush) {
            return Err(FlushError::Flushed);
        }
        if let Some(stranger) = receivers.iter().find(|member| !installed.together.contains(member)) {
            return Err(FlushError::NotInView(*stranger));
        }
        let steady = installed.phase == Phase::Open && installed.unconfirmed.is_empty();
        Ok(if steady { None } else { Some(installed.id) })
    }

    /// The daemon tells of a change.
    pub(super) fn on_view(&mut self, view: message::View, out: &mut Output) {
        let single = self.pending.is_none();
        let still_heard = self.pending.take().filter(|pending| pending.standing == Standing::In);
        self.forget_old();
        let silent = self.not_early(Kind::Acknowledgement, &view);
        let mut parted = BTreeSet::new();
        if let Some(installed) = &mut self.installed {
            if !self.planted.is(Mutant::ForgetWhoParted) {
                let heard = still_heard.map_or_else(BTreeSet::new, |pending| pending.parted);
                installed.together.retain(|member| !heard.contains(member));
                parted = part(&mut installed.together, &view);
                parted.extend(view.members.iter().filter(|member| heard.contains(*member)));
            }
            if installed.phase == Phase::Open && !self.leaving {
                installed.phase = Phase::Requested;
                out.events.push(Event::FlushRequest(self.name));
            }
        }
        let standing = Standing::of(&view);
        self.pending =
            Some(Pending { view, single, silent, parted, standing, held: VecDeque::new(), held_bytes: 0 });
        let asked = self.installed.as_ref().is_some_and(|installed| installed.phase != Phase::Flushed);
        if !asked && !self.leaving {
            self.acknowledge(out);
        }
        self.install_if_agreed(out);
    }

    /// Members became unreachable. When `ending` is the view that has just come, that one only stands
    /// in until the new configuration, and what unreachable members sent before still follows it.
    pub(super) fn on_transition(&mut self, ending: GroupId, out: &mut Output) {
        let Some(installed) = &mut self.installed else { return };
        let stands_in =
            |pending: &&mut Pending| pending.view.id == ending && pending.standing == Standing::Unknown;
        if let Some(pending) = self.pending.as_mut().filter(stands_in) {
            pending.standing = Standing::In;
            installed.together.extend(&pending.parted);
        }
        if !installed.transition_told {
            installed.transition_told = true;
            out.events.push(Event::Transition(self.name));
        }
    }

    pub(super) fn on_message(
        &mut self,
        sender: MemberName,
        meaning: Meaning,
        out: &mut Output,
    ) -> Result<(), FlushError> {
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.standing == Standing::Unknown) {
            pending.standing = Standing::Alone;
        }
        match meaning {
            Meaning::FlushOk(id) => match &mut self.pending {
                Some(pending) if pending.view.id == id => {
                    pending.silent.remove(&sender);
                    self.install_if_agreed(out);
                }
                _ => self.keep_early(Kind::Acknowledgement, id, sender),
            },
            Meaning::FlushRecv(id) => match &mut self.installed {
                Some(installed) if installed.id == id => {
                    installed.unconfirmed.remove(&sender);
                }
                _ => self.keep_early(Kind::Receipt, id, sender),
            },
            Meaning::Data(message, None) => self.deliver(message, out),
            Meaning::Data(message, Some(id)) => return self.on_marked(message, id, out),
        }
        Ok(())
    }

    /// A marked message is for exactly one view. Of views that are neither installed nor pending, it
    /// comes from members that parted from this one.
    fn on_marked(&mut self, message: Message, id: GroupId, out: &mut Output) -> Result<(), FlushError> {
        if self.installed.as_ref().is_some_and(|installed| installed.id == id) {
            self.deliver(message, out);
        } else if let Some(pending) = self.pending.as_mut().filter(|pending| pending.view.id == id) {
            // Who is not in the view cannot have sent in it, whatever the mark says.
            if !pending.view.members.contains(&message.sender) {
                return Ok(());
            }
            pending.held_bytes = pending.held_bytes.saturating_add(message.body.len());
            if pending.held.len() >= HELD_LIMIT || pending.held_bytes > HELD_LIMIT_BYTES {
                return Err(FlushError::TooManyHeld);
            }
            pending.held.push_back(message);
        }
        Ok(())
    }

    /// Delivers what was sent in the installed view. A sender that parted from this member may be in
    /// another view by now; one that never was in the view is not of this closed group.
    fn deliver(&self, message: Message, out: &mut Output) {
        let anyone = self.planted.is(Mutant::HearAnyone);
        let is_heard = |installed: &Installed| anyone || installed.together.contains(&message.sender);
        if self.installed.as_ref().is_some_and(is_heard) {
            out.events.push(Event::Message { group: self.name, message });
        }
    }

    fn acknowledge(&self, out: &mut Output) {
        if let Some(pending) = &self.pending {
            out.requests.push(Request::flush_ok(self.name, pending.view.id));
        }
    }

    fn install_if_agreed(&mut self, out: &mut Output) {
        let missing = usize::from(self.planted.is(Mutant::ViewBeforeFlush));
        let agreed = |pending: &mut Pending| pending.silent.len() <= missing;
        let Some(Pending { view, single, held, .. }) = self.pending.take_if(agreed) else { return };
        let old = self.installed.take();
        let mut came_along = old.map_or_else(BTreeSet::new, |installed| installed.together);
        came_along.insert(self.me);
        let together: BTreeSet<MemberName> = view.members.iter().copied().collect();
        let unconfirmed = self.not_early(Kind::Receipt, &view);
        self.early.retain(|early| early.id != view.id);
        let id = view.id;
        let phase = Phase::Open;
        self.installed = Some(Installed { id, phase, together, unconfirmed, transition_told: false });
        out.events.push(Event::View(View {
            group: self.name,
            id,
            change: if single { view.change } else { Change::Network },
            came_along: view.members.iter().filter(|member| came_along.contains(*member)).copied().collect(),
            members: view.members,
        }));
        if !self.leaving {
            out.requests.push(Request::flush_recv(self.name, id));
        }
        for message in held {
            self.deliver(message, out);
        }
    }

    fn keep_early(&mut self, kind: Kind, id: GroupId, sender: MemberName) {
        if self.early.len() >= EARLY_LIMIT {
            self.early.pop_front();
        }
        self.early.push_back(Early { kind, id, sender, change: self.changes });
    }

    fn forget_old(&mut self) {
        self.changes += 1;
        while self.early.front().is_some_and(|early| early.change + EARLY_CHANGES < self.changes) {
            self.early.pop_front();
        }
    }

    /// The members of a view of whom no such word has come before the view.
    fn not_early(&self, kind: Kind, view: &message::View) -> BTreeSet<MemberName> {
        let mut members: BTreeSet<MemberName> = view.members.iter().copied().collect();
        for early in self.early.iter().filter(|early| early.kind == kind && early.id == view.id) {
            members.remove(&early.sender);
        }
        members
    }
}

/// Takes out of `together` who did not come through the change with this member: who is gone, who
/// joined (again), and after a network change who came in another virtual synchrony set. Returns those
/// of them that are members of the view all the same.
fn part(together: &mut BTreeSet<MemberName>, view: &message::View) -> BTreeSet<MemberName> {
    let stays: BTreeSet<&MemberName> = match view.change {
        Change::Network => view.my_set().iter().collect(),
        Change::Join(_) | Change::Leave(_) | Change::Disconnect(_) => view.members.iter().collect(),
    };
    let gone = |member: &MemberName| !stays.contains(member) || view.change.member() == Some(member);
    let parted = view.members.iter().filter(|member| together.contains(*member) && gone(member));
    let parted = parted.copied().collect();
    together.retain(|member| !gone(member));
    parted
}
