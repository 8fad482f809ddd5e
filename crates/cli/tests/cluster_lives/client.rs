//! Clients that send, connect again under their name when their daemon dies, and write down everything.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use antiphon::{Cause, Connection, Connector, Error, Event, GroupId, ServiceLevel, View};
use fastrand::Rng;

use super::log::{Id, Log, Seat, Seen, Sent};

/// The group of all clients.
pub(crate) const ALL: &str = "all";
/// The group of every second client; all send to it.
const HALF: &str = "half";
const LEVELS: [ServiceLevel; 4] =
    [ServiceLevel::Reliable, ServiceLevel::Fifo, ServiceLevel::Agreed, ServiceLevel::Safe];
/// Between two messages of a client, in milliseconds.
const PAUSE: std::ops::Range<u64> = 10..40;

/// Where a client stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Status {
    view: Option<GroupId>,
    members: usize,
    /// For which call it has the last messages, and how many.
    call: u32,
    last: usize,
}

/// What the test tells the clients, and they it.
#[derive(Debug)]
pub(crate) struct Control {
    /// How often last messages were called for.
    calls: AtomicU32,
    end: AtomicBool,
    status: Mutex<Vec<Status>>,
}

/// Ends the clients when it is dropped.
pub(crate) struct Ending<'a>(&'a Control);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::SeqCst);
    }
}

impl Control {
    pub(crate) fn new(clients: usize) -> Self {
        let status = Mutex::new(vec![Status::default(); clients]);
        Self { calls: AtomicU32::new(0), end: AtomicBool::new(false), status }
    }

    pub(crate) fn end_when_dropped(&self) -> Ending<'_> {
        Ending(self)
    }

    /// The view that all clients are in, if there is one.
    pub(crate) fn common_view(&self) -> Option<GroupId> {
        let status = self.status.lock().unwrap();
        let view = status[0].view?;
        let all = status.iter().all(|one| one.view == Some(view) && one.members == status.len());
        all.then_some(view)
    }

    /// Ends the traffic and calls for a last message of each level from each client.
    pub(crate) fn send_last(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn all_have_last(&self) -> bool {
        let call = self.calls.load(Ordering::SeqCst);
        let status = self.status.lock().unwrap();
        status.iter().all(|one| one.call == call && one.last == status.len() * LEVELS.len())
    }

    pub(crate) fn describe(&self) -> String {
        format!("{:#?}", self.status.lock().unwrap())
    }
}

/// One client: connections, one after the other.
pub(crate) struct Client<'a> {
    pub(crate) number: usize,
    pub(crate) connector: Connector,
    pub(crate) control: &'a Control,
    pub(crate) random: Rng,
}

impl Client<'_> {
    /// Lives until the end; returns the logs of all connections, and the last connection: were it
    /// closed before all clients have ended, they would see that.
    pub(crate) fn live(mut self) -> (Vec<Log>, Option<Connection>) {
        let mut logs = Vec::new();
        while !self.ends() {
            let connection = match self.connector.connect() {
                Ok(connection) => connection,
                Err(Error::Connect { .. } | Error::Closed | Error::Io(_) | Error::Timeout) => {
                    sleep(Duration::from_millis(20));
                    continue;
                }
                Err(error) => panic!("client {} is refused: {error}", self.number),
            };
            let life = u32::try_from(logs.len()).unwrap();
            let mut life = Life::new(connection, u32::try_from(self.number).unwrap(), life);
            match self.act(&mut life) {
                Ok(()) => {
                    logs.push(life.log);
                    return (logs, Some(life.connection));
                }
                Err(Error::Closed | Error::Io(_)) => life.log.broken = true,
                Err(error) => panic!("{}: {error}", life.log.member),
            }
            logs.push(life.log);
            self.report(Status::default());
        }
        (logs, None)
    }

    fn ends(&self) -> bool {
        self.control.end.load(Ordering::SeqCst)
    }

    fn report(&self, status: Status) {
        self.control.status.lock().unwrap()[self.number] = status;
    }

    fn act(&mut self, life: &mut Life) -> Result<(), Error> {
        life.connection.join(ALL)?;
        if self.number.is_multiple_of(2) {
            life.connection.join(HALF)?;
            life.in_half = true;
        }
        while !self.ends() {
            let call = self.control.calls.load(Ordering::SeqCst);
            if call == 0 {
                let group = if self.random.u8(0..4) == 0 { HALF } else { ALL };
                life.send(call, *self.random.choice(&LEVELS).unwrap(), group)?;
            } else if call != life.status.call {
                (life.status.call, life.status.last) = (call, life.early_last(call));
                LEVELS.iter().try_for_each(|service| life.send(call, *service, ALL))?;
            }
            let pause = Duration::from_millis(self.random.u64(PAUSE));
            let mut event = life.connection.receive_timeout(pause)?;
            while let Some(more) = event {
                life.note(more);
                event = life.connection.receive_timeout(Duration::ZERO)?;
            }
            self.report(life.status);
        }
        Ok(())
    }
}

/// A connection that goes on.
struct Life {
    connection: Connection,
    log: Log,
    next: Id,
    in_half: bool,
    status: Status,
    /// The calls to which the last messages that came belong.
    calls: Vec<u32>,
}

impl Life {
    fn new(connection: Connection, client: u32, life: u32) -> Self {
        let log = Log { member: connection.member().to_string(), ..Log::default() };
        let next = Id { client, life, number: 0 };
        Self { connection, log, next, in_half: false, status: Status::default(), calls: Vec::new() }
    }

    /// How many messages of a call came before this client heard of it.
    fn early_last(&self, call: u32) -> usize {
        self.calls.iter().filter(|other| **other == call).count()
    }

    fn send(&mut self, call: u32, service: ServiceLevel, group: &str) -> Result<(), Error> {
        let id = self.next;
        self.next.number += 1;
        let view = self.log.views(group).next_back().map(|view| view.id);
        // What is not ordered may overtake the join.
        let to_self = (group == ALL || self.in_half) && (service.is_ordered() || view.is_some());
        self.log.sent.push(Sent { id, group: group.to_owned(), to_self, view });
        // Some messages need several packets.
        let padding = if id.number.is_multiple_of(50) { 5000 } else { 20 };
        let body = [id.to_bytes(), call.to_le_bytes().to_vec(), vec![0; padding]].concat();
        self.connection.multicast(service, group, body)
    }

    fn note(&mut self, event: Event) {
        let seen = match event {
            Event::Message(message) => {
                let id = Id::from_bytes(&message.body).expect("an id");
                let call = u32::from_le_bytes(message.body[12..16].try_into().unwrap());
                if call != 0 {
                    self.calls.push(call);
                    self.status.last += usize::from(call == self.status.call);
                }
                Seen::Message { id, service: message.service, group: message.groups[0].to_string() }
            }
            Event::View(view) => {
                let view = seat(&view);
                if view.group == ALL {
                    (self.status.view, self.status.members) = (Some(view.id), view.members.len());
                }
                Seen::View(view)
            }
            Event::Transition(transition) => Seen::Transition(transition.group.to_string()),
            Event::SelfLeave(_) | Event::Rejected(_) => panic!("nobody asked for {event:?}"),
        };
        self.log.seen.push(seen);
    }
}

fn seat(view: &View) -> Seat {
    let names = |members: &[antiphon::MemberName]| members.iter().map(ToString::to_string).collect();
    let company = match view.cause {
        Cause::Network => view.vs_sets.get(view.my_vs_set).map(|set| names(set)).unwrap_or_default(),
        Cause::Join | Cause::Leave | Cause::Disconnect => Vec::new(),
    };
    Seat { group: view.group.to_string(), id: view.id, members: names(&view.members), company }
}
