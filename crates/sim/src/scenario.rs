//! Stories written by hand.
//!
//! A story starts from a ring that has formed, makes things happen at chosen moments, says what must
//! be seen, and is judged by all checkers in the end. Expectations panic with the timeline.

use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::View;
use antiphon_wire::ids::RingId;
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel;

use crate::check;
use crate::client::Cast;
use crate::report;
use crate::trace::{Ending, ProcessEvent, SessionEvent};
use crate::workload::group;
use crate::world::{ClientId, Fault, Settings, World};

/// So many milliseconds.
#[must_use]
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// How long a story waits for something at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A multicast of a story.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Message(pub usize);

impl World {
    /// Daemons with default settings that have formed one ring.
    #[must_use]
    pub fn ring_of(daemons: usize) -> Self {
        Self::ring_with(Settings { daemons, ..Settings::default() })
    }

    /// Daemons that have formed one ring.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn ring_with(settings: Settings) -> Self {
        let mut world = Self::new(1, settings);
        world.run_until_one_ring();
        world
    }

    /// A ring of daemons that trust their calendars, as those that boot all at once do not (docs/protocol.md, M8): each
    /// was started when all that it heard of was in the past.
    ///
    /// # Panics
    /// When they do not form one.
    #[must_use]
    pub fn ring_without_doubt(settings: Settings) -> Self {
        let daemons = settings.daemons;
        let mut world = Self::ring_with(settings);
        for host in 0..daemons {
            world.apply(Fault::Restart { host, after: ms(0) });
            world.run(ms(1000));
        }
        world.run_until_one_ring();
        world
    }

    /// One client for each daemon, all members of that group.
    pub fn clients_in<const N: usize>(&mut self, name: &str) -> [ClientId; N] {
        let clients = std::array::from_fn(|host| self.client_in(host, "c", name));
        self.run_until_quiet();
        clients
    }

    /// A client of a host's daemon that joins a group.
    pub fn client_in(&mut self, host: usize, private: &str, name: &str) -> ClientId {
        let client = self.add_client(host, private, true);
        self.open(client);
        self.join(client, group(name));
        client
    }

    /// Connects a client and waits for its session.
    ///
    /// # Panics
    /// When it does not open.
    pub fn open(&mut self, client: ClientId) {
        self.connect(client);
        self.wait_for("the session to open", |world| world.client(client).is_open());
    }

    /// Sends a message to a group.
    ///
    /// # Panics
    /// When the client cannot send.
    pub fn cast(
        &mut self,
        client: ClientId,
        name: &str,
        service: ServiceLevel,
        body_bytes: usize,
    ) -> Message {
        let number = self.recorder.trace.submissions.len();
        let groups = vec![group(name)];
        self.multicast(client, Cast { service, groups, self_discard: false, body_bytes });
        assert_eq!(self.recorder.trace.submissions.len(), number + 1, "the client cannot send");
        Message(number)
    }

    /// Drops datagrams of a kind on every link to a host, until the links heal.
    pub fn drop_to(&mut self, host: usize, kind: DatagramKind) {
        for from in (0..self.settings().daemons).filter(|from| *from != host) {
            self.network.link(from, host).dropped_kinds.push(kind);
        }
    }

    /// Drops datagrams of a kind on every link from a host, until the links heal.
    pub fn drop_from(&mut self, host: usize, kind: DatagramKind) {
        for to in (0..self.settings().daemons).filter(|to| *to != host) {
            self.network.link(host, to).dropped_kinds.push(kind);
        }
    }

    /// Lets time pass until a condition holds.
    ///
    /// # Panics
    /// When it does not hold within 30 s.
    pub fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = self.now() + PATIENCE;
        while !holds(self) {
            if self.now() >= until || !self.step() {
                self.fail(&format!("waited in vain for {what}"));
            }
        }
    }

    /// Lets time pass until all daemons that are up are in one ring.
    ///
    /// # Panics
    /// When that takes more than 30 s.
    pub fn run_until_one_ring(&mut self) {
        let all: Vec<usize> = (0..self.settings().daemons).collect();
        self.run(ms(1));
        self.wait_for("one ring", |world| {
            let up: Vec<usize> = all.iter().copied().filter(|host| world.is_up(*host)).collect();
            world.are_one_ring(&up)
        });
        self.run(ms(20));
    }

    /// Whether these hosts' daemons are in one ring of exactly them.
    #[must_use]
    pub fn are_one_ring(&self, hosts: &[usize]) -> bool {
        let rings: Vec<_> = hosts.iter().map(|host| self.ring_of_host(*host)).collect();
        let same = rings.windows(2).all(|pair| pair[0] == pair[1]);
        same && matches!(rings.first(), Some(Some((_, members))) if members.len() == hosts.len())
    }

    /// The ring of a host.
    ///
    /// # Panics
    /// When its daemon is down.
    #[must_use]
    pub fn ring_id(&self, host: usize) -> RingId {
        let Some((ring, _)) = self.ring_of_host(host) else { self.fail("the daemon is down") };
        ring
    }

    /// Lets time pass until nothing was recorded for half a second.
    ///
    /// # Panics
    /// When that takes more than 30 s.
    pub fn run_until_quiet(&mut self) {
        let until = self.now() + PATIENCE;
        let mut records = 0;
        let mut calm = 0;
        while calm < 5 {
            self.run(ms(100));
            let now = self.recorder.records;
            calm = if now == records { calm + 1 } else { 0 };
            records = now;
            if self.now() > until {
                self.fail("it never became quiet");
            }
        }
    }

    /// What a client's connection has recorded, or its last one.
    fn story_of(&self, client: ClientId) -> &[(Instant, SessionEvent)] {
        let name = self.client(client).member;
        let session = self.recorder.trace.sessions.iter().rev().find(|session| session.name == name);
        session.map_or(&[], |session| &session.records)
    }

    /// Whether a client has read a message.
    #[must_use]
    pub fn has_read(&self, client: ClientId, message: Message) -> bool {
        self.story_of(client).iter().any(
            |(_, event)| matches!(event, SessionEvent::Message(received) if received.submission == message.0),
        )
    }

    /// Whether a host's daemon has delivered a message.
    #[must_use]
    pub fn has_delivered(&self, host: usize, message: Message) -> bool {
        let process = &self.recorder.trace.processes[self.process_of_host(host)];
        process.records.iter().any(|(_, event)| {
            matches!(event, ProcessEvent::Delivered { stamp, .. } if stamp.submission == Some(message.0))
        })
    }

    /// The last view of a group that a client read.
    #[must_use]
    pub fn last_view(&self, client: ClientId, name: &str) -> Option<&View> {
        self.story_of(client).iter().rev().find_map(|(_, event)| match event {
            SessionEvent::View(view) if view.group == group(name) => Some(&**view),
            _ => None,
        })
    }

    /// How many transitional signals a client has read.
    #[must_use]
    pub fn signals(&self, client: ClientId) -> usize {
        self.story_of(client).iter().filter(|(_, event)| matches!(event, SessionEvent::Signal(..))).count()
    }

    /// How many regular configurations all daemons together have delivered.
    #[must_use]
    pub fn installs(&self) -> usize {
        use antiphon_proto::delivery::Configuration::Regular;
        let records = self.recorder.trace.processes.iter().flat_map(|process| &process.records);
        records.filter(|(_, event)| matches!(event, ProcessEvent::Configured(Regular { .. }))).count()
    }

    /// Expects that a client has read a message.
    ///
    /// # Panics
    /// When it has not.
    pub fn expect_message(&self, client: ClientId, message: Message) {
        if !self.has_read(client, message) {
            self.fail(&format!("{} did not read message {}", self.client(client).member, message.0));
        }
    }

    /// Expects that a client has not read a message.
    ///
    /// # Panics
    /// When it has.
    pub fn expect_no_message(&self, client: ClientId, message: Message) {
        if self.has_read(client, message) {
            self.fail(&format!("{} read message {}", self.client(client).member, message.0));
        }
    }

    /// Expects that the last view of a group that a client read has exactly these members.
    ///
    /// # Panics
    /// When it has others.
    pub fn expect_view(&self, client: ClientId, name: &str, members: &[ClientId]) {
        let expected: Vec<_> = members.iter().map(|member| self.client(*member).member).collect();
        let found = self.last_view(client, name).map(|view| view.members.clone());
        if found.as_ref() != Some(&expected) {
            self.fail(&format!("{} saw {found:?}, not {expected:?}", self.client(client).member));
        }
    }

    /// Expects that no promise was broken so far.
    ///
    /// # Panics
    /// When one was.
    pub fn check(&self) {
        let violations = check::all(&self.recorder.trace);
        if !violations.is_empty() {
            let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
            self.fail(&list.join("\n"));
        }
    }

    /// Waits until all daemons are in one ring and quiet, then expects that no promise was broken,
    /// those about the end of a run included.
    ///
    /// # Panics
    /// When one was.
    pub fn finish(&mut self) {
        self.come_to_rest();
        self.check();
    }

    /// Waits until all daemons are in one ring and quiet, for the checks about the end of a run.
    ///
    /// # Panics
    /// When they do not become so.
    pub fn come_to_rest(&mut self) {
        let healed = self.now();
        self.run_until_one_ring();
        self.run_until_quiet();
        let converged = self.now();
        self.run(ms(1500));
        let sent = self.network.tally.sent;
        self.run(ms(1000));
        let (end, idle_datagrams) = (self.now(), self.network.tally.sent - sent);
        self.recorder.trace.ending = Ending::Healed {
            healed,
            converged,
            end,
            idle_datagrams,
            idle_budget: self.settings().idle_datagrams(),
            leftovers: self.leftovers(),
        };
    }

    #[expect(clippy::panic, reason = "a story that fails is a test that fails")]
    fn fail(&self, what: &str) -> ! {
        let lines = report::timeline(&self.recorder.trace, &[]);
        let from = lines.len().saturating_sub(150);
        let lines: Vec<String> = lines[from..].iter().map(|(at, line)| format!("{at} {line}")).collect();
        panic!("{}\n{what}, at {}", lines.join("\n"), self.now())
    }
}
