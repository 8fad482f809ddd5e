//! Daemons on hosts that are not as usual: systems that let any address be taken, interfaces that are made anew,
//! addresses that move, hosts that are down, files that others have left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::process::Signal;
use support::cluster::{Cluster, Layout};
use support::directory::Directory;
use support::namespaces::{self, Namespaces};
use support::port::Port;
use support::process::Process;
use support::skip::lacking;
use support::{PROGRAM, wait_until};

/// How long a program that ends by itself may take.
const END_LIMIT: Duration = Duration::from_secs(20);
/// Rings that a machine that stands still may cost: one breaks, and is made again.
const BY_A_BUSY_MACHINE: f64 = 2.0;

/// As beside keepalived or haproxy, which bind to addresses that another host has for now.
#[test]
fn a_daemon_finds_itself_where_it_could_bind_to_any_address() {
    if !Namespaces::are_possible() {
        return;
    }
    let (bed, directory) = (Namespaces::new(2), Directory::new());
    bed.set(1, "ip_nonlocal_bind", 1);
    let [first, second] = [0, 1].map(namespaces::address);
    let text = format!("Spread_Segment {first}:4803 {{\n  d1 {first}\n  d2 {second}\n}}\n");
    std::fs::write(directory.file("spread.conf"), text).expect("writable");
    let args = ["daemon", "--check", "-c", "spread.conf"];
    let mut process = Process::start_in(&bed.name(1), directory.path(), &directory.file("log"), args);
    assert_eq!(process.wait(END_LIMIT).code(), Some(0));
    let told = process.log();
    assert!(told.contains(&format!("d2 {second}  (this daemon)")), "{told}");
}

/// The system gives an interface that is made anew another number, and memberships go by the number.
#[test]
fn a_daemon_joins_its_multicast_group_again_when_its_interface_is_made_anew() {
    if !Namespaces::are_possible() {
        return;
    }
    let mut cluster = Cluster::in_namespaces(Layout::SharedSegment, 3, "");
    for _ in 0..2 {
        cluster.namespaces().remake_interface(0);
        cluster.settle(&[0, 1, 2]);
    }
    cluster.assert_running();
}

/// What is sent to the group still leaves by the old interface, without an error, and what others send there does not
/// arrive.
#[test]
fn a_daemon_joins_its_multicast_group_again_where_its_address_has_moved() {
    if !Namespaces::are_possible() {
        return;
    }
    let cluster = Cluster::in_namespaces(Layout::SharedSegment, 3, "");
    let installed = rings_installed(&cluster, 0);
    cluster.namespaces().move_address_to_bridge(2);
    // A ring in which nobody says anything sends nothing to the group.
    cluster.client(0, "says").join("something").expect("joined");
    wait_until("the others miss it, or it them", END_LIMIT, || rings_installed(&cluster, 0) > installed);
    cluster.settle(&[0, 1, 2]);
    assert!(cluster.process(2).log().contains("again, as the interface of 10.77.0.3 is another"));
}

/// The system holds what is sent to a host that does not answer for three seconds, in the memory for all that a socket
/// sends: with datagrams of this length, the hellos to so many take more than twice of it.
#[test]
fn hosts_that_are_down_do_not_hold_up_those_that_are_up() {
    if !Namespaces::are_possible() {
        return;
    }
    let bed = Namespaces::new(3);
    bed.set_mtu(9000);
    let cluster = Cluster::on(bed, 117, Layout::OneByOne, "DatagramBytes = 8972\n");
    let installed = rings_installed(&cluster, 0);
    std::thread::sleep(Duration::from_secs(8));
    let since = rings_installed(&cluster, 0) - installed;
    assert!(since <= BY_A_BUSY_MACHINE, "{since} rings since\n{}", cluster.process(0).log());
    assert!(cluster.status(0)["counters"]["gossip_withheld"].as_u64() > Some(0));
    cluster.settle(&[0, 1, 2]);
}

fn rings_installed(cluster: &Cluster, host: usize) -> f64 {
    let status = cluster.status(host);
    status["counters"]["rings_installed"].as_f64().expect("a number")
}

#[test]
fn a_daemon_that_can_not_join_again_says_what_to_do_and_goes_on_trying() {
    if !Namespaces::are_possible() {
        return;
    }
    let cluster = Cluster::in_namespaces(Layout::SharedSegment, 3, "");
    cluster.namespaces().set(0, "igmp_max_memberships", 0);
    cluster.namespaces().remake_interface(0);
    // A ring in which nobody says anything sends nothing to the group.
    cluster.client(0, "says").join("something").expect("joined");
    wait_until("the daemon says what to do", END_LIMIT, || {
        let log = cluster.process(0).log();
        log.contains("cannot join 239.77.0.1") && log.contains("or restart the daemon")
    });
    cluster.namespaces().set(0, "igmp_max_memberships", 20);
    cluster.settle(&[0, 1, 2]);
}

/// In a directory like `/tmp`, where nobody may remove what others have.
#[test]
fn a_socket_of_another_user_is_left_to_its_owner() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        lacking("needs root, to be another user");
        return;
    }
    let (port, directory) = (Port::lease(), Directory::new());
    let (number, program) = (port.number(), directory.file("antiphon"));
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).expect("settable");
    let text = format!("Spread_Segment 127.0.0.255:{number} {{\n  localhost 127.0.0.1\n}}\n");
    std::fs::write(directory.file("spread.conf"), text).expect("writable");
    std::fs::copy(PROGRAM, &program).expect("copied");
    let home = directory.path().display().to_string();
    let start = |log: &str| {
        let args = ["daemon", "-c", "spread.conf", "--unix-dir", &home];
        Process::start_as(NOBODY, &program, directory.path(), &directory.file(log), args)
    };
    for mode in [0o666, 0o600] {
        let socket = directory.file(&number.to_string());
        drop(UnixListener::bind(&socket).expect("a socket"));
        std::fs::set_permissions(&socket, Permissions::from_mode(mode)).expect("settable");
        let mut process = start(&format!("{mode:o}"));
        assert_eq!(process.wait(END_LIMIT).code(), Some(1));
        let log = process.log();
        assert!(log.contains("let its owner or root remove it") && !log.contains("make it"), "{log}");
        std::fs::remove_file(&socket).expect("root may");
    }
    drop(UnixListener::bind(directory.file(&format!("{number}.status"))).expect("a socket"));
    let mut process = start("status");
    wait_until("the daemon serves its clients", END_LIMIT, || process.log().contains("connect with"));
    let log = process.log();
    assert!(
        log.contains("nobody can ask for the status") && log.contains("let its owner or root remove it"),
        "{log}"
    );
    process.signal(Signal::TERM);
    assert_eq!(process.wait(END_LIMIT).code(), Some(0));
}
