//! Sessions that follow one another, whatever opens them: what both faces have in common.

use std::time::Instant;

use antiphon_wire::names::MemberName;

use super::backoff::{Life, Outage};
use super::{Backoff, Continuity, Gap};
use crate::connector::Connector;
use crate::error::Error;

/// How sessions are opened, and what goes on from one to the next.
#[derive(Debug)]
pub(crate) struct Succession {
    pub(crate) connector: Connector,
    pub(crate) continuity: Continuity,
    backoff: Backoff,
    /// That of the present session, or of the last one.
    life: Life,
}

impl Succession {
    /// Begins with the session of `member`, which has just been opened.
    pub(crate) fn new(connector: Connector, backoff: Backoff, member: MemberName) -> Self {
        let continuity = Continuity::new(member, connector.wants_membership());
        Self { connector, continuity, backoff, life: Life::new(Instant::now()) }
    }

    /// The session has ended for that reason.
    pub(crate) fn on_end(&self, cause: Error) -> Outage {
        self.life.end(cause, Instant::now(), &self.backoff, &self.continuity.member())
    }

    /// An attempt has failed.
    ///
    /// # Errors
    /// When it was the last one: what it failed with.
    pub(crate) fn on_failure(&self, outage: &mut Outage, error: Error) -> Result<(), Error> {
        outage.on_failure(error, Instant::now(), &self.backoff, &self.continuity.member())
    }

    /// A session of `member` ends the outage. The groups of the gap are to be joined, in their order.
    pub(crate) fn on_session(&mut self, outage: &mut Outage, member: MemberName) -> Gap {
        self.life = outage.end(Instant::now());
        let cause = std::mem::replace(&mut outage.cause, Error::Closed);
        self.continuity.on_session(cause, member)
    }
}
