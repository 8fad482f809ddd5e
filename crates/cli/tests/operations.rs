//! What an administrator does with daemons, and what a daemon promises to clients in numbers:
//! starting, stopping, restarting, mistakes in files and on command lines, slow readers, many
//! clients, many groups.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Connection, Event, Message, Sender, ServiceLevel, View};
use rustix::process::Signal;
use support::cluster::{Cluster, Layout, MULTICAST};
use support::directory::Directory;
use support::port::{Port, try_or_start};
use support::process::{Process, spawn};
use support::raw::{ANSWER_LIMIT, Raw, message};
use support::skip::skipped;
use support::{PROGRAM, poll, wait_until};

/// Long before a lost token is noticed in a cluster that is [`PATIENT`].
const SOON: Duration = Duration::from_secs(5);

const JOIN: u32 = 0x10000;

/// How long a program that ends by itself may take.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A lost token is noticed so late that nothing in these tests can be explained by it.
const PATIENT: &str = "TokenTimeout = 20000\nHurryTimeout = 6000\nAliveTimeout = 1000\nJoinTimeout = 1000\n\
    RepTimeout = 2500\nSegTimeout = 2000\nGatherTimeout = 10000\nFormTimeout = 10000\nLookupTimeout = 60000\n";

#[test]
fn a_daemon_that_is_told_to_stop_says_goodbye() {
    for signal in [Signal::TERM, Signal::INT] {
        stops_with_a_goodbye(signal);
    }
}

fn stops_with_a_goodbye(signal: Signal) {
    let mut cluster = Cluster::running(Layout::OwnSegments, 2, PATIENT);
    let mut stays = cluster.client(0, "stays");
    let mut goes = cluster.client(1, "goes");
    stays.join("g").expect("joined");
    goes.join("g").expect("joined");
    view_of(&mut stays, 2, ANSWER_LIMIT);
    cluster.signal(1, signal);
    let view = view_of(&mut stays, 1, SOON);
    assert_eq!(view.members, [stays.member()]);
    assert_eq!(cluster.process_mut(1).wait(END_LIMIT).code(), Some(0));
    let log = cluster.process(1).log();
    assert!(log.contains("asked to stop, says goodbye\n") && log.ends_with(": stopped\n"), "{log}");
    assert!(!cluster.home(1).join(cluster.port().to_string()).exists(), "the Unix socket is left");
    assert!(cluster.process_mut(0).exited().is_none(), "the other ended as well");
}

#[test]
fn a_killed_daemon_can_be_started_again_at_once() {
    let mut cluster = Cluster::single("");
    let mut keeps = cluster.raw(0);
    keeps.log_in("keeps");
    drop(cluster.client(0, "closes"));
    let mut local = cluster.raw_unix(0);
    local.log_in("local");
    cluster.kill(0);
    assert!(cluster.home(0).join(cluster.port().to_string()).exists(), "nobody could remove the socket");
    // The kernel still has the closing connections of the killed daemon on this port.
    cluster.start(0);
    assert!(keeps.is_closed(ANSWER_LIMIT) && local.is_closed(ANSWER_LIMIT));
    cluster.raw_unix(0).log_in("local");
    let mut again = cluster.client(0, "keeps");
    again.join("g").expect("joined");
    again.multicast(ServiceLevel::Agreed, "g", "again").expect("sent");
    assert_eq!(next_message(&mut again, ANSWER_LIMIT).body, "again");
}

#[test]
fn a_port_in_use_is_named() {
    let mut cluster = Cluster::new(Layout::OwnSegments, &[("localhost", 1)], "");
    let (port, ip) = (cluster.port(), Ipv4Addr::LOCALHOST);
    let refused = |cluster: &mut Cluster, taken: String| {
        cluster.launch(0);
        let process = cluster.process_mut(0);
        assert_eq!(process.wait(END_LIMIT).code(), Some(1));
        let log = process.log();
        assert!(log.contains(&taken), "no {taken} in: {log}");
    };
    let tcp = TcpListener::bind((ip, port)).expect("a leased port");
    refused(&mut cluster, format!("TCP {ip}:{port} is in use"));
    drop(tcp);
    let control = UdpSocket::bind((ip, port + 1)).expect("a leased port");
    refused(&mut cluster, format!("UDP {ip}:{} is in use", port + 1));
    drop(control);
    cluster.start(0);
}

/// The socket of the group cannot be opened where another program has it for itself.
#[test]
fn daemons_without_their_group_reach_each_other_one_by_one_if_they_may() {
    let hosts = [("d1", 2), ("d2", 3)];
    let strict = Cluster::new(Layout::SharedSegment, &hosts, "");
    let _taken = UdpSocket::bind((MULTICAST, strict.port())).expect("a leased port");
    let refused = run_daemon(&strict);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("or set IgnoreMulticastJoinErrors to reach daemons one by one"),
        "{}",
        refused.err
    );
    let mut lenient = Cluster::new(Layout::SharedSegment, &hosts, "IgnoreMulticastJoinErrors = yes\n");
    let _taken = UdpSocket::bind((MULTICAST, lenient.port())).expect("a leased port");
    lenient.launch(0);
    lenient.launch(1);
    lenient.settle(&[0, 1]);
    assert!(
        lenient.process(0).log().contains("daemons are reached one by one"),
        "{}",
        lenient.process(0).log()
    );
    let (mut one, mut two) = (lenient.client(0, "one"), lenient.client(1, "two"));
    two.join("g").expect("joined");
    view_of(&mut two, 1, ANSWER_LIMIT);
    one.multicast(ServiceLevel::Safe, "g", "hello").expect("sent");
    assert_eq!(next_message(&mut two, ANSWER_LIMIT).body, "hello");
}

fn run_daemon(cluster: &Cluster) -> Output {
    let args = cluster.daemon_args(0);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(&args, cluster.directory().path(), "")
}

#[test]
fn a_log_file_takes_what_would_go_to_the_error_stream() {
    let cluster = Cluster::single("EventLogFile = events\n");
    let log = || std::fs::read_to_string(cluster.home(0).join("events")).unwrap_or_default();
    wait_until("the log says that the daemon listens", END_LIMIT, || {
        log().contains("daemon localhost listens")
    });
    assert!(!cluster.process(0).log().contains("daemon localhost listens"), "{}", cluster.process(0).log());
}

#[test]
fn a_file_can_be_checked_without_starting() {
    let directory = Directory::new();
    let check = |text: &str| {
        let file = directory.file("spread.conf");
        std::fs::write(&file, text).expect("writable");
        let args = ["daemon", "--check", "-c", &file.display().to_string()];
        let output = run(&args, directory.path(), "");
        (output.code, output.out, output.err.replace(&directory.path().display().to_string(), ""))
    };
    let (code, out, _) = check("Spread_Segment 127.0.0.255:4999 {\n  localhost 127.0.0.1\n}\n");
    assert_eq!(code, Some(0));
    assert!(out.contains("localhost 127.0.0.1  (this daemon)"), "{out}");
    let (code, _, err) = check("Spread_Segment 127.0.0.255:4999 {\n  localhost 127.0.0.256\n}\n");
    assert_eq!(code, Some(1));
    assert!(err.contains("spread.conf:2:13"), "{err}");
}

#[test]
fn a_daemon_finds_itself_by_its_address() {
    let Some(ip) = outer_address() else {
        skipped("this machine has no address but loopback ones, and those are all its own");
        return;
    };
    let (port, directory) = (Port::lease(), Directory::new());
    let number = port.number();
    // An address from the documentation: no machine has it.
    let text = format!(
        "Spread_Segment 198.51.100.1:{number} {{\n  remote 198.51.100.1\n}}\n\
         Spread_Segment {ip}:{number} {{\n  here {ip} {{ {ip} }}\n}}\n"
    );
    std::fs::write(directory.file("spread.conf"), text).expect("writable");
    let home = directory.path().display().to_string();
    let args = ["daemon", "-c", "spread.conf", "--unix-dir", &home];
    let process = Process::start(directory.path(), &directory.file("log"), args);
    wait_until("the daemon says who it is", END_LIMIT, || process.log().contains("daemon here listens"));
    let mut raw = Raw::unix(&directory.file(&number.to_string())).expect("the Unix socket is there");
    raw.log_in("me");
}

/// As on a full disk: every line of the log fails, and so does every word about that.
#[test]
fn a_daemon_whose_log_can_not_be_written_serves() {
    let (port, directory) = (Port::lease(), Directory::new());
    let number = port.number();
    let text = format!("Spread_Segment 127.0.0.255:{number} {{\n  localhost 127.0.0.1\n}}\n");
    std::fs::write(directory.file("spread.conf"), text).expect("writable");
    let home = directory.path().display().to_string();
    let args = ["daemon", "-c", "spread.conf", "--unix-dir", &home];
    let mut process = Process::start(directory.path(), Path::new("/dev/full"), args);
    let socket = directory.file(&number.to_string());
    wait_until("the daemon listens", END_LIMIT, || socket.exists());
    for name in ["one", "two"] {
        Raw::unix(&socket).expect("the Unix socket is there").log_in(name);
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait(END_LIMIT).code(), Some(0));
}

/// The address from which this machine would send; nothing is sent to find out.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    Some(socket.local_addr().expect("an address").ip()).filter(|ip| !ip.is_loopback())
}

/// Only where the customary port is free: another daemon may well run here.
#[test]
fn a_daemon_without_a_file_serves_this_machine() {
    // Another run of this test is soon over.
    if poll(Duration::from_secs(5), || has_no_daemon().then_some(())).is_none() {
        skipped("this machine has a daemon on port 4803, its socket /tmp/4803 or its file /etc/spread.conf");
        return;
    }
    let directory = Directory::new();
    let mut process = Process::start(directory.path(), &directory.file("log"), [] as [&str; 0]);
    wait_until("the daemon listens", END_LIMIT, || process.log().contains("connect with 4803"));
    drop(Connection::connect("4803", "unix").expect("over the Unix socket"));
    drop(Connection::connect("4803@localhost", "tcp").expect("over TCP"));
    // A machine may lack IPv6.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        drop(Connection::connect("4803@::1", "six").expect("over IPv6"));
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait(END_LIMIT).code(), Some(0));
    assert!(!Path::new("/tmp/4803").exists());
}

fn has_no_daemon() -> bool {
    let _alone = try_or_start();
    let any = Ipv4Addr::UNSPECIFIED;
    TcpListener::bind((any, 4803)).is_ok()
        && UdpSocket::bind((any, 4803)).is_ok()
        && UdpSocket::bind((any, 4804)).is_ok()
        && !Path::new("/tmp/4803").exists()
        && !Path::new("/etc/spread.conf").exists()
}

#[test]
fn a_slow_reader_is_cut_off_and_nobody_else_notices() {
    const BURST: usize = 20;
    let cluster = Cluster::single("MaxSessionMessages = 50\n");
    let mut slow = cluster.raw(0);
    slow.socket().set_recv_buffer_size(4096).expect("settable");
    slow.log_in("slow");
    slow.send(&message(JOIN, "#slow#localhost", &["g"], 0, &[])).expect("written");
    let mut good = cluster.client(0, "good");
    good.join("g").expect("joined");
    view_of(&mut good, 2, ANSWER_LIMIT);
    let (mut sender, begun) = (cluster.client(0, "sender"), Instant::now());
    let (mut sent, mut received, mut members) = (0_usize, 0_usize, 2);
    let is_cut = || {
        let log = cluster.process(0).log();
        log.lines().any(|line| line.contains("#slow#localhost") && line.contains("it reads too slowly"))
    };
    // What is sent before, while and after the slow reader is cut off must all come to the good one.
    while !is_cut() {
        assert!(begun.elapsed() < ANSWER_LIMIT, "{sent} messages and the slow reader is still there");
        for _ in 0..BURST {
            let body = [sent.to_string().into_bytes(), vec![b' '; 40_000]].concat();
            sender.multicast(ServiceLevel::Fifo, "g", body).expect("sent");
            sent += 1;
        }
        while received < sent {
            match good.receive_timeout(ANSWER_LIMIT).expect("connected").expect("all messages") {
                Event::Message(message) => {
                    let number = format!("{received} ");
                    assert!(message.body.starts_with(number.as_bytes()), "{received} is missing");
                    received += 1;
                }
                Event::View(view) => members = view.members.len(),
                other => panic!("{other:?}"),
            }
        }
    }
    if members != 1 {
        view_of(&mut good, 1, ANSWER_LIMIT);
    }
}

#[test]
fn a_thousand_clients_are_in_one_group() {
    const CLIENTS: usize = 1000;
    const WATCHERS: usize = 10;
    let cluster = Cluster::single("");
    // Views of all to all would be gigabytes: most clients do not ask for them.
    let quiet: Vec<Raw> = (0..CLIENTS - WATCHERS).map(|number| quiet_member(&cluster, number)).collect();
    let mut watchers: Vec<Connection> =
        (0..WATCHERS).map(|number| cluster.client(0, &format!("w{number}"))).collect();
    for watcher in &mut watchers {
        watcher.join("crowd").expect("joined");
    }
    let views = watchers.iter_mut().map(|watcher| view_of(watcher, CLIENTS, ANSWER_LIMIT));
    let views: Vec<View> = views.collect();
    assert_eq!(views[0].members.iter().collect::<BTreeSet<_>>().len(), CLIENTS);
    assert!(views.iter().all(|view| view.id == views[0].id && view.members == views[0].members));
    watchers[0].multicast(ServiceLevel::Agreed, "crowd", "all").expect("sent");
    for mut raw in quiet {
        let bytes = raw.message(ANSWER_LIMIT).expect("a message");
        assert!(bytes.ends_with(b"all"));
    }
}

/// A client that wants no membership messages, in the group.
fn quiet_member(cluster: &Cluster, number: usize) -> Raw {
    let name = format!("q{number}");
    let mut raw = cluster.raw(0);
    let mut greeting = vec![4, 4, 0, 0, u8::try_from(name.len()).expect("a short name")];
    greeting.extend(name.as_bytes());
    let mut choice = [0; 90];
    choice[..4].copy_from_slice(b"NULL");
    greeting.extend(choice);
    greeting.extend(message(JOIN, &format!("#{name}#localhost"), &["crowd"], 0, &[]));
    raw.send(&greeting).expect("written");
    let answer = b"\x05NULL \x01\x04\x04\x00".len() + 1 + format!("#{name}#localhost").len();
    assert_eq!(raw.read(answer, ANSWER_LIMIT).len(), answer, "{name} is not let in");
    raw
}

#[test]
fn ten_thousand_groups_are_no_burden() {
    const GROUPS: usize = 10_000;
    let cluster = Cluster::single("");
    let (mut joins, mut receives) = cluster.client(0, "many").split();
    let joined = thread::spawn(move || {
        joins.set_buffered(true);
        for number in 0..GROUPS {
            joins.join(format!("group-{number}").as_str()).expect("joined");
        }
        joins.flush().expect("written");
        joins
    });
    let mut views = 0;
    while views < GROUPS {
        let event = receives.receive_timeout(ANSWER_LIMIT).expect("connected").expect("a view");
        views += usize::from(matches!(event, Event::View(_)));
    }
    let _joins: Sender = joined.join().expect("no panic");
    let mut other = cluster.client(0, "other");
    other.multicast(ServiceLevel::Agreed, "group-7777", "here").expect("sent");
    let event = receives.receive_timeout(ANSWER_LIMIT).expect("connected").expect("the message");
    let Event::Message(message) = event else { panic!("not a message: {event:?}") };
    assert_eq!(message.body, "here");
}

#[test]
fn what_is_sent_from_a_shell_is_received_in_a_shell() {
    let cluster = Cluster::single("");
    let (address, log) = (cluster.address(0), cluster.directory().file("received"));
    let args = ["receive", "-c", &address, "-g", "red", "-g", "blue", "--json", "--count", "8"];
    let args = args.into_iter().chain(["--timeout", "60"]);
    let mut receive = Process::start(cluster.directory().path(), &log, args);
    wait_until("both groups are joined", END_LIMIT, || receive.log().matches("\"view\"").count() == 2);
    let directory = cluster.directory().path();
    let both =
        ["send", "-c", &address, "-n", "shell", "-g", "red", "-g", "blue", "-s", "safe", "--count", "2"];
    assert_eq!(run(&both, directory, "one\n\ntwo\n").code, Some(0));
    // The second reaches a group that the receiver is not in, and so comes twice and no more often.
    let one =
        ["send", "-c", &address, "-g", "blue", "-g", "green", "--type", "-7", "-b", "last", "--count", "2"];
    assert_eq!(run(&one, directory, "").code, Some(0));
    assert_eq!(receive.wait(END_LIMIT).code(), Some(0));
    let lines: Vec<serde_json::Value> =
        receive.log().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages: Vec<_> = lines.iter().filter(|line| line["event"] == "message").collect();
    let bodies: Vec<&str> = messages.iter().filter_map(|line| line["body"].as_str()).collect();
    assert_eq!(bodies, ["one", "one", "", "", "two", "two", "last", "last"]);
    let (first, last) = (messages[0], messages[7]);
    assert_eq!((&first["sender"], &first["service"]), (&"#shell#localhost".into(), &"safe".into()));
    assert_eq!(first["groups"], serde_json::json!(["red", "blue"]));
    assert_eq!((&last["type"], &last["groups"]), (&(-7).into(), &serde_json::json!(["blue", "green"])));
}

/// Somebody may be typing, or a program may write without regard to lines.
#[test]
fn a_line_is_sent_while_the_next_one_is_not_whole_yet() {
    let cluster = Cluster::single("");
    let mut listens = cluster.client(0, "listens");
    listens.join("g").expect("joined");
    view_of(&mut listens, 1, ANSWER_LIMIT);
    let mut command = Command::new(PROGRAM);
    command.args(["send", "-c", &cluster.address(0), "-g", "g"]).stdin(Stdio::piped());
    let mut child = spawn(&mut command);
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"one\ntwo").expect("the program reads");
    assert_eq!(next_message(&mut listens, ANSWER_LIMIT).body, "one");
    stdin.write_all(b"\n").expect("the program reads");
    drop(stdin);
    assert_eq!(next_message(&mut listens, ANSWER_LIMIT).body, "two");
    assert!(child.wait().expect("a child").success());
}

/// The receiver stands still until its time is over, and then has many messages before it.
#[test]
fn a_receiver_whose_time_is_over_stops_although_messages_keep_coming() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    const MESSAGES: usize = 200;
    let cluster = Cluster::single("");
    let log = cluster.directory().file("received");
    let seconds = TIMEOUT.as_secs().to_string();
    let args = ["receive", "-c", &cluster.address(0), "-g", "g", "--json", "--timeout", &seconds];
    let mut receive = Process::start(cluster.directory().path(), &log, args);
    wait_until("the group is joined", END_LIMIT, || receive.log().contains("\"view\""));
    let over = Instant::now() + TIMEOUT;
    receive.signal(Signal::STOP);
    let mut sender = cluster.client(0, "sender");
    sender.join("g").expect("joined");
    for _ in 0..MESSAGES {
        sender.multicast(ServiceLevel::Agreed, "g", "word").expect("sent");
    }
    for _ in 0..MESSAGES {
        next_message(&mut sender, ANSWER_LIMIT);
    }
    thread::sleep(over.saturating_duration_since(Instant::now()));
    receive.signal(Signal::CONT);
    assert_eq!(receive.wait(END_LIMIT).code(), Some(0));
    let received = receive.log().matches("\"message\"").count();
    assert!(received < MESSAGES, "all {received} were received");
}

#[test]
fn a_name_in_use_is_refused_in_words() {
    let cluster = Cluster::single("");
    let first = cluster.client(0, "twin");
    let args = ["receive", "-c", &cluster.address(0), "-n", "twin", "-g", "g", "--timeout", "10"];
    let second = run(&args, cluster.directory().path(), "");
    assert_eq!(second.code, Some(1), "{}", second.err);
    assert!(second.err.contains("the private name is in use on this daemon"), "{}", second.err);
    drop(first);
    let free = poll(ANSWER_LIMIT, || cluster.connector(0, "twin").connect().ok());
    assert!(free.is_some(), "the name is still in use after its client left");
}

/// What a program that ended left.
struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program under test with an input, to its end; kills it if there is none.
fn run(args: &[&str], directory: &Path, input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("the program reads");
    drop(stdin);
    if poll(END_LIMIT, || child.try_wait().expect("a child")).is_none() {
        child.kill().expect("a child");
        panic!("{args:?} did not end: {:?}", child.wait_with_output());
    }
    let output = child.wait_with_output().expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Output { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Receives up to a view with so many members.
fn view_of(connection: &mut Connection, members: usize, limit: Duration) -> View {
    let found = receive_until(connection, limit, |event| match event {
        Event::View(view) if view.members.len() == members => Some(view),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no view with {members} members within {limit:?}"))
}

fn next_message(connection: &mut Connection, limit: Duration) -> Message {
    let found = receive_until(connection, limit, |event| match event {
        Event::Message(message) => Some(message),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no message within {limit:?}"))
}

fn receive_until<T>(
    connection: &mut Connection,
    limit: Duration,
    found: impl Fn(Event) -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = connection.receive_timeout(left).expect("connected")?;
        if let Some(wanted) = found(event) {
            return Some(wanted);
        }
    }
}
