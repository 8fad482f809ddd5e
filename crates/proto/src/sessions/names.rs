//! Who has which private name.
//!
//! A name belongs to one session at a time. It is taken when the hello is read and, once the session
//! was established, free again only when the session's end was delivered in order; otherwise views
//! could mix its old and its new bearer (docs/testing.md, C4).

use std::collections::HashMap;

use antiphon_wire::ids::SessionId;
use antiphon_wire::names::{DaemonName, MemberName, PrivateName};

use crate::NameHash;

/// How often an invented name may be taken before the client is refused instead.
const INVENTIONS: usize = 1000;

#[derive(Clone, Copy, Debug)]
struct Bearer {
    session: SessionId,
    leaving: bool,
}

/// What becomes of a request for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// It is yours.
    Taken,
    /// It will be free soon.
    Leaving,
    /// Someone else has it.
    InUse,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Names {
    daemon: DaemonName,
    bearers: HashMap<MemberName, Bearer, NameHash>,
    random: fastrand::Rng,
}

impl Names {
    pub(super) fn new(daemon: DaemonName, seed: u64, hash: NameHash) -> Self {
        Self { daemon, bearers: HashMap::with_hasher(hash), random: fastrand::Rng::with_seed(seed) }
    }

    /// The full name of a session of this daemon.
    pub(super) fn member(&self, private: &PrivateName) -> MemberName {
        MemberName::new(private, &self.daemon)
    }

    /// The session that bears a name and is not leaving.
    pub(super) fn bearer(&self, name: &MemberName) -> Option<SessionId> {
        self.bearers.get(name).filter(|bearer| !bearer.leaving).map(|bearer| bearer.session)
    }

    /// Takes a name for a session if it is free.
    pub(super) fn claim(&mut self, name: &MemberName, session: SessionId) -> Claim {
        match self.bearers.get(name) {
            Some(Bearer { leaving: true, .. }) => Claim::Leaving,
            Some(_) => Claim::InUse,
            None => {
                self.bearers.insert(*name, Bearer { session, leaving: false });
                Claim::Taken
            }
        }
    }

    /// Notes that the end of a name's bearer is to be ordered.
    pub(super) fn begin_leaving(&mut self, name: &MemberName) {
        if let Some(bearer) = self.bearers.get_mut(name) {
            bearer.leaving = true;
        }
    }

    /// Frees a name.
    pub(super) fn release(&mut self, name: &MemberName) {
        self.bearers.remove(name);
    }

    /// A free name for a session that brings none: `r`, a number below 9999, `-`, and the session's
    /// number, cut to nine characters. `None` when chance gives only names in use.
    pub(super) fn invent(&mut self, session: SessionId) -> Option<MemberName> {
        (0..INVENTIONS).find_map(|_| {
            let number = self.random.u16(..9999);
            let text = format!("r{number}-{}", session.0);
            let private = PrivateName::new(text.as_bytes().get(..9).unwrap_or(text.as_bytes())).ok()?;
            let name = self.member(&private);
            (!self.bearers.contains_key(&name)).then_some(name)
        })
    }
}
