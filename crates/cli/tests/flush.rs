//! Programs with the flush layer, over real daemons.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use antiphon::flush::{Connection, Event, FlushError};
use antiphon::{Connector, MemberName, ServiceLevel};
use support::cluster::{Cluster, Layout};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
const GROUP: &str = "replicas";

/// A program that flushes when it is asked to, and sends something just before.
struct Program {
    connection: Connection,
    sent: u32,
    /// Views, each with what was delivered in it.
    views: Vec<(Vec<MemberName>, Vec<String>)>,
}

impl Program {
    fn new(cluster: &Cluster, host: usize, name: &str) -> Self {
        let mut connection = Connection::new(cluster.client(host, name));
        connection.join(GROUP).expect("joins");
        Self { connection, sent: 0, views: Vec::new() }
    }

    fn say(&mut self) {
        let service = [ServiceLevel::Fifo, ServiceLevel::Agreed, ServiceLevel::Safe][self.sent as usize % 3];
        let text = format!("{} {}", self.connection.member(), self.sent);
        self.connection.multicast(service, GROUP, 1, text).expect("may send");
        self.sent += 1;
    }

    fn step(&mut self) {
        let event = self.connection.receive_timeout(Duration::from_millis(5)).expect("connected");
        match event {
            Some(Event::FlushRequest(group)) => {
                (0..3).for_each(|_| self.say());
                self.connection.flush(group).expect("was asked");
            }
            Some(Event::View(view)) => {
                self.views.push((view.members, Vec::new()));
                (0..3).for_each(|_| self.say());
            }
            Some(Event::Message { message, .. }) => {
                let (members, delivered) = self.views.last_mut().expect("no message before a view");
                assert!(members.contains(&message.sender), "{} is not in the view", message.sender);
                delivered.push(String::from_utf8_lossy(&message.body).into_owned());
            }
            Some(Event::Overdue(group)) => panic!("{group} did not wait"),
            Some(Event::Transition(_) | Event::SelfLeave(_) | Event::Outside(_)) | None => {}
        }
    }

    fn members(&self) -> usize {
        self.views.last().map_or(0, |(members, _)| members.len())
    }
}

/// Lets all programs run until all have a view with so many members.
fn run_until(programs: &mut [Program], members: usize) {
    let deadline = Instant::now() + LIMIT;
    while programs.iter().any(|program| program.members() != members) {
        assert!(Instant::now() < deadline, "no view of {members} within {LIMIT:?}");
        programs.iter_mut().for_each(Program::step);
    }
}

#[test]
fn members_deliver_the_same_in_each_view_while_others_come_and_go_and_daemons_die() {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, "");
    let mut programs = Vec::new();
    for (host, name) in [(0, "a"), (0, "b"), (1, "c")] {
        programs.push(Program::new(&cluster, host, name));
        let members = programs.len();
        run_until(&mut programs, members);
    }
    let joiner = Program::new(&cluster, 1, "d");
    programs.push(joiner);
    run_until(&mut programs, 4);

    programs.pop().expect("d").connection.leave(GROUP).expect("a member leaves");
    run_until(&mut programs, 3);
    cluster.kill(1);
    programs.truncate(2);
    run_until(&mut programs, 2);

    let [a, b] = programs.as_slice() else { panic!("two are left") };
    // The first view was a's alone, and the last one is not over.
    let over = a.views.len() - 1;
    assert_eq!(a.views[1..over], b.views[..over - 1], "what was delivered in which view differs");
    let delivered = |name: &str| {
        a.views[1..over]
            .iter()
            .flat_map(|(_, texts)| texts)
            .filter(|text| text.starts_with(&format!("#{name}#")))
            .count()
    };
    assert!(delivered("a") >= 6 && delivered("b") >= 6 && delivered("c") >= 6, "{:?}", a.views);
}

/// Or its program would wait for a view for ever.
#[test]
fn a_connection_without_membership_joins_nothing() {
    let cluster = Cluster::single("");
    let connection = Connector::new(cluster.address(0)).membership(false).connect().expect("accepted");
    let joined = Connection::new(connection).join(GROUP);
    assert!(matches!(joined, Err(FlushError::NoMembership)), "{joined:?}");
}
