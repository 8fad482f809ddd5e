//! Daemons on the loopback interface, in threads of the test, with real clients.

// The helpers of a test are tests too, but only functions marked as such are recognised.
#![allow(clippy::expect_used, clippy::panic)]

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon::blocking::{Connection, Connector};
use antiphon::{Error, Event, ServiceLevel};
use antiphon_daemon::conf::{Settings, Source, load_source};
use antiphon_daemon::{Daemon, LinkFilter, LocalAddresses, StartError, StopHandle};
use antiphon_proto::config::{AccessRule, AuthMethod, Authentication};
use antiphon_wire::ids::DaemonId;
use port::Port;

// That of the tests of the command line: no two test programs have the same port.
#[path = "../../cli/tests/support/port.rs"]
mod port;

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon in a thread; stopped when dropped.
struct Running {
    stop: StopHandle,
    links: LinkFilter,
    addresses: LocalAddresses,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    fn start(mut daemon: Daemon) -> Self {
        let stop = StopHandle::new();
        let links = daemon.link_filter();
        let addresses = daemon.local_addresses().expect("bound");
        let handle = stop.clone();
        let builder = thread::Builder::new().name(addresses.data.to_string());
        let thread = Some(builder.spawn(move || daemon.run(&handle)).expect("a thread"));
        Self { stop, links, addresses, thread }
    }

    /// How often its thread has gone to sleep.
    fn naps(&self) -> u64 {
        let name = format!("{}\n", self.addresses.data);
        let is_it =
            |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm == name);
        let mut tasks =
            std::fs::read_dir("/proc/self/task").expect("threads").flatten().map(|task| task.path());
        let status =
            std::fs::read_to_string(tasks.find(is_it).expect("its thread").join("status")).expect("it runs");
        let naps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        naps.and_then(|naps| naps.trim().parse().ok()).expect("a number")
    }

    fn stop(&mut self) {
        self.stop.stop();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + PATIENCE;
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "{} does not stop", self.addresses.data);
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().expect("no panic").expect("a healthy poller");
    }

    fn unix(&self, name: &str) -> Connection {
        let path = self.addresses.unix.first().expect("a Unix socket");
        let directory = path.parent().expect("in a directory");
        let port = self.addresses.data.port().to_string();
        Connector::new(port).unix_directory(directory).name(name).connect().expect("a session")
    }

    fn tcp(&self, name: &str) -> Connection {
        let address = self.addresses.tcp.first().expect("a TCP socket");
        self.tcp_at(&address.ip().to_string(), name).expect("a session")
    }

    fn tcp_at(&self, host: &str, name: &str) -> Result<Connection, Error> {
        Connector::new(format!("{}@{host}", self.addresses.data.port())).name(name).connect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that has failed waits for no daemon, which may be what failed.
        if thread::panicking() {
            self.stop.stop();
        } else {
            self.stop();
        }
    }
}

/// Where the daemons of a test have their sockets.
struct Place {
    directory: PathBuf,
    port: Port,
}

impl Place {
    fn new() -> Self {
        let name = format!("antiphon-{}-{}", std::process::id(), fastrand::u64(..));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a new directory");
        Self { directory, port: Port::lease() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn bind(text: &str, name: &str, unix_dir: &Path) -> Result<Daemon, StartError> {
    Daemon::bind(settings(text, name, unix_dir))
}

fn settings(text: &str, name: &str, unix_dir: &Path) -> Settings {
    let mut settings =
        load_source(Source::new("test", text.as_bytes()), Some(name)).expect("a good file").settings;
    settings.unix_dirs = vec![unix_dir.join(name)];
    std::fs::create_dir_all(unix_dir.join(name)).expect("a directory");
    settings
}

/// The settings of the only daemon, which listens on all addresses.
fn settings_without_interfaces(place: &Place) -> Settings {
    let text = format!("Spread_Segment 127.0.0.255:{} {{ a 127.0.0.1 }}", place.port.number());
    settings(&text, "a", &place.directory)
}

/// Whether a test, which says why it does not run if so, lacks IPv6.
fn lacks_ipv6() -> bool {
    let lacks = TcpListener::bind("[::1]:0").is_err();
    if lacks {
        let thread = thread::current();
        // What is printed with `eprintln!` is only seen of tests that fail.
        let _ = writeln!(
            std::io::stderr(),
            "skipped {}: this machine has no IPv6",
            thread.name().unwrap_or_default()
        );
    }
    lacks
}

fn configuration(names: &[&str], port: u16) -> String {
    let daemons: String = names
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{name} 127.0.0.{i} {{ 127.0.0.{i} }}\n", i = index + 1))
        .collect();
    format!("Spread_Segment 127.0.0.255:{port} {{ {daemons} }}")
}

fn cluster(names: &[&str], place: &Place) -> Vec<Running> {
    cluster_with("", names, place)
}

fn cluster_with(directives: &str, names: &[&str], place: &Place) -> Vec<Running> {
    let text = format!("{directives}\n{}", configuration(names, place.port.number()));
    names.iter().map(|name| Running::start(bind(&text, name, &place.directory).expect("free"))).collect()
}

/// The next message's body, past everything else.
fn body(connection: &mut Connection) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(Event::Message(message)) = connection.receive_timeout(PATIENCE).expect("connected") {
            return message.body.to_vec();
        }
    }
    panic!("no message came");
}

/// Waits until a view of the group has that many members.
fn await_members(connection: &mut Connection, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(Event::View(view)) = connection.receive_timeout(PATIENCE).expect("connected")
            && view.members.len() == count
        {
            return;
        }
    }
    panic!("no view of {count} came");
}

#[test]
fn a_daemon_listens_stops_when_asked_and_leaves_nothing_behind() {
    let place = Place::new();
    let mut daemon = cluster(&["a"], &place).remove(0);
    let path = daemon.addresses.unix[0].clone();
    let tcp = daemon.addresses.tcp[0];
    drop(UnixStream::connect(&path).expect("the Unix socket listens"));
    drop(std::net::TcpStream::connect(tcp).expect("the TCP socket listens"));
    assert!(UdpSocket::bind(daemon.addresses.data).is_err(), "the data port is taken");
    assert!(UdpSocket::bind(daemon.addresses.control).is_err(), "the control port is taken");
    daemon.stop();
    assert!(!path.exists());
    TcpListener::bind(tcp).expect("the port is free again, or waits for nothing but old connections");
}

#[test]
fn a_second_daemon_is_told_what_is_in_use() {
    let place = Place::new();
    let text = configuration(&["a"], place.port.number());
    let _first = bind(&text, "a", &place.directory).expect("free");
    let error = bind(&text, "a", &place.directory).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("UDP 127.0.0.1:") && error.contains("in use"), "{error}");
}

#[test]
fn a_daemon_that_polls_never_sleeps_and_serves_as_others_do() {
    const MESSAGES: u64 = 100;
    let place = Place::new();
    for (directive, sleeps) in [("", true), ("BusyPoll = yes", false)] {
        let mut daemons = cluster_with(directive, &["a", "b"], &place);
        let (mut sender, mut receiver) = (daemons[0].unix("sender"), daemons[1].unix("receiver"));
        sender.join("g").expect("joined");
        receiver.join("g").expect("joined");
        await_members(&mut receiver, 2);
        let before: Vec<u64> = daemons.iter().map(Running::naps).collect();
        for number in 0..MESSAGES {
            sender.multicast(ServiceLevel::Agreed, "g", number.to_string()).expect("sent");
            assert_eq!(body(&mut receiver), number.to_string().as_bytes());
        }
        for (daemon, before) in daemons.iter().zip(before) {
            // A lock may let a thread nap, but not once for each message.
            assert_eq!(daemon.naps() - before >= MESSAGES / 2, sleeps, "{directive}");
        }
        daemons.iter_mut().for_each(Running::stop);
    }
}

#[test]
fn clients_of_either_socket_reach_each_other() {
    let place = Place::new();
    let daemons = cluster(&["a"], &place);
    let (mut unix, mut tcp) = (daemons[0].unix("unix"), daemons[0].tcp("tcp"));
    unix.join("g").expect("joined");
    tcp.join("g").expect("joined");
    await_members(&mut unix, 2);
    tcp.multicast(ServiceLevel::Safe, "g", "from tcp").expect("sent");
    assert_eq!(body(&mut unix), b"from tcp");
    unix.multicast(ServiceLevel::Agreed, "g", "from unix").expect("sent");
    assert_eq!(body(&mut tcp), b"from tcp");
    assert_eq!(body(&mut tcp), b"from unix");
}

#[test]
fn a_daemon_without_a_list_of_interfaces_takes_clients_of_ipv4_and_ipv6() {
    if lacks_ipv6() {
        return;
    }
    let place = Place::new();
    let daemon = Running::start(Daemon::bind(settings_without_interfaces(&place)).expect("free"));
    let mut four = daemon.tcp_at("127.0.0.1", "four").expect("over IPv4");
    let mut six = daemon.tcp_at("::1", "six").expect("over IPv6");
    four.join("g").expect("joined");
    six.join("g").expect("joined");
    await_members(&mut four, 2);
    six.multicast(ServiceLevel::Agreed, "g", "from afar").expect("sent");
    assert_eq!(body(&mut four), b"from afar");
}

#[test]
fn the_access_list_knows_clients_of_ipv4_by_their_address_where_ipv6_is_listened_on_too() {
    if lacks_ipv6() {
        return;
    }
    let place = Place::new();
    let mut settings = settings_without_interfaces(&place);
    settings.config.sessions.authentication = Authentication {
        required: vec![AuthMethod::Ip],
        access: vec![AccessRule::Network { address: [127, 0, 0, 0].into(), prefix_bits: 8 }],
        ..Authentication::default()
    };
    let daemon = Running::start(Daemon::bind(settings).expect("free"));
    daemon.tcp_at("127.0.0.1", "four").expect("the list names it");
    let refused = daemon.tcp_at("::1", "six").expect_err("the list has no word for it");
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
}

#[test]
fn all_addresses_of_ipv6_leave_those_of_ipv4_to_the_listeners_that_are_named_for_them() {
    if lacks_ipv6() {
        return;
    }
    let place = Place::new();
    for (interfaces, four, six) in [
        ("C ::", true, true),
        ("C :: C 0.0.0.0", true, true),
        ("C 0.0.0.0", true, false),
        ("C ::1", false, true),
    ] {
        let port = place.port.number();
        let text =
            format!("Spread_Segment 127.0.0.255:{port} {{ a 127.0.0.1 {{ D 127.0.0.1 {interfaces} }} }}");
        let mut daemon = Running::start(bind(&text, "a", &place.directory).expect("free"));
        assert_eq!(daemon.tcp_at("127.0.0.1", "four").is_ok(), four, "{interfaces}");
        assert_eq!(daemon.tcp_at("::1", "six").is_ok(), six, "{interfaces}");
        daemon.stop();
    }
}

#[test]
fn a_partition_by_cut_links_splits_a_group_and_healing_joins_it() {
    let place = Place::new();
    let daemons = cluster(&["a", "b", "c"], &place);
    let mut clients: Vec<Connection> = daemons.iter().map(|daemon| daemon.tcp("p")).collect();
    for client in &mut clients {
        client.join("g").expect("joined");
    }
    clients.iter_mut().for_each(|client| await_members(client, 3));
    for (index, daemon) in daemons.iter().enumerate() {
        daemon.links.cut_exactly(if index == 2 { &[DaemonId(0), DaemonId(1)] } else { &[DaemonId(2)] });
    }
    for (client, members) in clients.iter_mut().zip([2, 2, 1]) {
        await_members(client, members);
    }
    daemons.iter().for_each(|daemon| daemon.links.cut_exactly(&[]));
    clients.iter_mut().for_each(|client| await_members(client, 3));
    clients[2].multicast(ServiceLevel::Safe, "g", "again").expect("sent");
    clients.iter_mut().for_each(|client| assert_eq!(body(client), b"again"));
}

#[test]
fn a_client_that_reads_late_gets_everything_in_order() {
    const COUNT: u32 = 20_000;
    let place = Place::new();
    let daemons = cluster(&["a", "b"], &place);
    let (mut late, mut sender) = (daemons[1].unix("late"), daemons[0].unix("sender"));
    late.join("g").expect("joined");
    await_members(&mut late, 1);
    for number in 0..COUNT {
        let mut text = vec![b'.'; 1000];
        text[..4].copy_from_slice(&number.to_be_bytes());
        sender.multicast(ServiceLevel::Fifo, "g", text).expect("sent");
    }
    for number in 0..COUNT {
        assert_eq!(body(&mut late)[..4], number.to_be_bytes(), "message {number}");
    }
}

#[test]
fn many_sessions_come_and_go() {
    let place = Place::new();
    let daemons = cluster(&["a"], &place);
    for _ in 0..2 {
        let mut sessions: Vec<Connection> = (0..80)
            .map(|index| if index % 2 == 0 { daemons[0].unix("") } else { daemons[0].tcp("") })
            .collect();
        for session in &mut sessions {
            session.join("crowd").expect("joined");
        }
        await_members(&mut sessions[0], 80);
        sessions[7].multicast(ServiceLevel::Agreed, "crowd", "all").expect("sent");
        for session in &mut sessions {
            assert_eq!(body(session), b"all");
        }
    }
}
