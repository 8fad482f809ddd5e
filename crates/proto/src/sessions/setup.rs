//! How a connection becomes a session (docs/client-protocol.md, A session).

use antiphon_wire::client::flags::{HEADER_BYTES, MAX_BODY_AND_GROUPS_BYTES, ReplyCode};
use antiphon_wire::client::frame::{FrameLimits, FrameReader};
use antiphon_wire::client::handshake::{AUTH_CHOICE_BYTES, Version, encode_accept, encode_method_list};
use antiphon_wire::ids::SessionId;
use antiphon_wire::names::MemberName;
use bytes::{Buf, Bytes};

use super::handshake::{
    Authenticating, Connecting, Connection, Handshake, Parked, has_surplus_name, is_cut_inside_name,
};
use super::names::Claim;
use super::outbox::Outbox;
use super::{Arrivals, Session, Sessions, SharedFrame};
use crate::cx::Cx;
use crate::io::{CloseReason, Event};
use crate::time::{Instant, Timer};

/// Bytes that a client may send ahead while it is parked: its choice and one frame.
pub(super) const PARKED_BYTES: usize = AUTH_CHOICE_BYTES + HEADER_BYTES + MAX_BODY_AND_GROUPS_BYTES as usize;

impl Sessions {
    /// The earliest deadline of a handshake has come. Who was cut inside the name, or has said
    /// something but not enough, is told why; who said nothing is not.
    pub(crate) fn on_handshake_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= cx.now
        {
            let Some(handshake) = self.take_handshake(id) else { continue };
            match &handshake {
                Handshake::Connecting(step) if is_cut_inside_name(&step.connection.reader) => {
                    self.refuse(id, handshake, ReplyCode::IllegalName, cx);
                }
                Handshake::Connecting(_) => {
                    cx.stats.handshakes_timed_out += 1;
                    self.drop_handshake(id, handshake, CloseReason::HandshakeTimeout, cx);
                }
                Handshake::Parked(_) => self.refuse(id, handshake, ReplyCode::NotUnique, cx),
                Handshake::Authenticating(_) => self.refuse(id, handshake, ReplyCode::Auth, cx),
            }
        }
        self.arm(cx);
    }

    /// Waits for the hello of a new client, unless there are too many.
    pub(super) fn greet(&mut self, id: SessionId, client: Connecting, cx: &mut Cx<'_>) {
        if self.established.len() + self.handshakes.len() >= cx.config.sessions.max_sessions {
            self.refuse(id, Handshake::Connecting(client), ReplyCode::Quota, cx);
        } else {
            self.keep_handshake(id, Handshake::Connecting(client));
        }
    }

    /// Goes on with a handshake that has new bytes.
    pub(super) fn on_handshake(&mut self, id: SessionId, handshake: Handshake, cx: &mut Cx<'_>) {
        match handshake {
            Handshake::Connecting(step) => self.on_hello(id, step, cx),
            Handshake::Authenticating(step) => self.on_choice(id, step, cx),
            Handshake::Parked(ref step) if step.connection.reader.buffered_bytes() > PARKED_BYTES => {
                let reason = CloseReason::ProtocolError("too much sent before the session is open");
                cx.stats.sessions_errored += 1;
                self.drop_handshake(id, handshake, reason, cx);
            }
            Handshake::Parked(_) => self.keep_handshake(id, handshake),
        }
    }

    fn on_hello(&mut self, id: SessionId, mut client: Connecting, cx: &mut Cx<'_>) {
        let reader = &mut client.connection.reader;
        match reader.hello() {
            Ok(None) => self.keep_handshake(id, Handshake::Connecting(client)),
            Err(code) => self.refuse(id, Handshake::Connecting(client), code, cx),
            Ok(Some(hello)) if hello.version.chooses_auth() && has_surplus_name(reader) => {
                self.refuse(id, Handshake::Connecting(client), ReplyCode::IllegalName, cx);
            }
            Ok(Some(hello)) => {
                let wanted = hello.name.map(|private| self.names.member(&private));
                match wanted.or_else(|| self.names.invent(id)) {
                    Some(member) => {
                        let Connecting { connection } = client;
                        self.claim(id, Parked { connection, hello, member }, cx);
                    }
                    None => self.refuse(id, Handshake::Connecting(client), ReplyCode::NotUnique, cx),
                }
            }
        }
    }

    /// Takes the name that a client wants, or parks the client while the name's bearer is leaving.
    fn claim(&mut self, id: SessionId, mut client: Parked, cx: &mut Cx<'_>) {
        match self.names.claim(&client.member, id) {
            Claim::Taken => {
                let Parked { connection, hello, member } = client;
                self.authenticate(id, Authenticating { connection, hello, member }, cx);
            }
            Claim::Leaving => {
                client.connection.deadline = cx.now + cx.config.sessions.authentication_timeout;
                self.keep_handshake(id, Handshake::Parked(client));
            }
            Claim::InUse => self.refuse(id, Handshake::Parked(client), ReplyCode::NotUnique, cx),
        }
    }

    /// A name became free: whoever waited longest for it gets it, the others are refused.
    pub(super) fn unpark(&mut self, name: &MemberName, cx: &mut Cx<'_>) {
        let from = (*name, Instant::default(), SessionId(0));
        let waiting = self.parked.range(from..).take_while(|(wanted, ..)| wanted == name);
        let waiting: Vec<SessionId> = waiting.map(|(.., id)| *id).collect();
        for id in waiting {
            if let Some(Handshake::Parked(parked)) = self.take_handshake(id) {
                self.claim(id, parked, cx);
            }
        }
    }

    /// Offers the methods, or, to a client too old to choose, applies the configured one.
    fn authenticate(&mut self, id: SessionId, mut client: Authenticating, cx: &mut Cx<'_>) {
        let authentication = &cx.config.sessions.authentication;
        if !client.hello.version.chooses_auth() {
            if authentication.admits_old_client(client.connection.origin) {
                self.accept(id, client, cx);
            } else {
                self.refuse(id, Handshake::Authenticating(client), ReplyCode::Auth, cx);
            }
            return;
        }
        let offered = authentication.offered();
        push_reply(id, &mut client.connection.outbox, &encode_method_list(&offered), cx);
        if offered.is_empty() {
            self.refuse(id, Handshake::Authenticating(client), ReplyCode::Auth, cx);
            return;
        }
        client.connection.deadline = cx.now + cx.config.sessions.authentication_timeout;
        self.on_choice(id, client, cx);
    }

    fn on_choice(&mut self, id: SessionId, mut client: Authenticating, cx: &mut Cx<'_>) {
        let authentication = &cx.config.sessions.authentication;
        match client.connection.reader.auth_choice() {
            None => self.keep_handshake(id, Handshake::Authenticating(client)),
            Some(choice) if authentication.admits(&choice, client.connection.origin) => {
                self.accept(id, client, cx);
            }
            Some(_) => self.refuse(id, Handshake::Authenticating(client), ReplyCode::Auth, cx),
        }
    }

    /// Establishes the session, and reads what the client sent ahead.
    fn accept(&mut self, id: SessionId, client: Authenticating, cx: &mut Cx<'_>) {
        let Authenticating { connection: Connection { reader, mut outbox, .. }, hello, member } = client;
        let [major, minor, patch] = cx.config.sessions.version;
        let reply = encode_accept(hello.version, Version { major, minor, patch }, &member);
        push_reply(id, &mut outbox, &reply, cx);
        let arrivals = Arrivals { at: cx.now, messages: outbox.messages() };
        let session = Session {
            member,
            wants_membership: hello.wants_membership,
            reader: FrameReader::new(FrameLimits::FROM_CLIENT),
            outbox,
            begun_bytes: 0,
            changes_underway: 0,
            last_message: 0,
            arrivals,
        };
        self.established.insert(id, session);
        cx.stats.sessions_accepted += 1;
        cx.out.events.push(Event::SessionAccepted(id, member));
        self.read(id, reader.into_rest(), cx);
    }

    /// Tells a client why it does not become a session, and closes its connection.
    fn refuse(&mut self, id: SessionId, mut handshake: Handshake, code: ReplyCode, cx: &mut Cx<'_>) {
        let outbox = &mut handshake.connection_mut().outbox;
        push_reply(id, outbox, &Bytes::copy_from_slice(&[code.to_byte()]), cx);
        cx.stats.sessions_refused += 1;
        self.drop_handshake(id, handshake, CloseReason::Refused(code), cx);
    }

    /// Closes a connection that is not a session yet, and frees the name that it has taken.
    fn drop_handshake(&mut self, id: SessionId, handshake: Handshake, reason: CloseReason, cx: &mut Cx<'_>) {
        let held = handshake.held_name();
        if let Some(name) = &held {
            self.names.release(name);
        }
        self.closed.insert(id, handshake.into_connection().outbox);
        self.report_closed(id, held, reason, cx);
    }

    pub(super) fn keep_handshake(&mut self, id: SessionId, handshake: Handshake) {
        let deadline = handshake.connection().deadline;
        self.deadlines.insert((deadline, id));
        if let Handshake::Parked(parked) = &handshake {
            self.parked.insert((parked.member, deadline, id));
        }
        self.handshakes.insert(id, handshake);
    }

    pub(super) fn take_handshake(&mut self, id: SessionId) -> Option<Handshake> {
        let handshake = self.handshakes.remove(&id)?;
        let deadline = handshake.connection().deadline;
        self.deadlines.remove(&(deadline, id));
        if let Handshake::Parked(parked) = &handshake {
            self.parked.remove(&(parked.member, deadline, id));
        }
        Some(handshake)
    }

    /// Sets the timer to the earliest deadline.
    pub(super) fn arm(&self, cx: &mut Cx<'_>) {
        match self.deadlines.first() {
            Some((deadline, _)) => cx.timers.set(Timer::Handshake, *deadline),
            None => cx.timers.stop(Timer::Handshake),
        }
    }
}

fn push_reply(id: SessionId, outbox: &mut Outbox, reply: &Bytes, cx: &mut Cx<'_>) {
    if !outbox.has_remaining() {
        cx.out.dirty.push(id);
    }
    outbox.push(&SharedFrame::whole(reply), 0);
}
