//! Hosts on one Ethernet: network namespaces joined by a bridge in a namespace of its own.
//!
//! Every host knows the others' hardware addresses by heart. A cut gives one of them another address
//! in one host's table: its frames go out and reach nobody, without an error, in that direction only.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::orphan::is_orphan;
use super::skip::lacking;

/// What the names of all namespaces begin with, before the number of the process.
const PREFIX: &str = "antiphon";
/// The interface by which a host sees the others.
const INTERFACE: &str = "eth0";
/// The address of all hosts.
pub(crate) const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 255);
/// A hardware address that no host has.
const NOWHERE: &str = "02:00:00:00:ff:ff";

/// The hosts and their bridge; dropping it removes them with all that is in them.
#[derive(Debug)]
pub(crate) struct Namespaces {
    prefix: String,
    count: u8,
}

impl Namespaces {
    /// Whether this user may make namespaces and has the programs for it; if not, the test is skipped.
    pub(crate) fn are_possible() -> bool {
        // Asked once: tests that run at the same time would take the probe from each other.
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        let possible = *POSSIBLE.get_or_init(Self::probe);
        if !possible {
            lacking("needs root and the programs ip and tc of iproute2");
        }
        possible
    }

    fn probe() -> bool {
        sweep();
        let probe = format!("{PREFIX}{}p", std::process::id());
        let made = ip(&format!("netns add {probe}"));
        if made {
            assert!(ip(&format!("netns del {probe}")), "a namespace that was made can be removed");
        }
        made && run("tc", "-Version")
    }

    /// Makes `count` hosts with all links whole.
    pub(crate) fn new(count: u8) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bed = Self { prefix: format!("{PREFIX}{}n{number}h", std::process::id()), count };
        bed.remove();
        let bridge = bed.bridge();
        must(&format!("netns add {bridge}"));
        must(&format!("-n {bridge} link add br0 type bridge"));
        must(&format!("-n {bridge} link set br0 up"));
        for host in 0..bed.count() {
            bed.add(host);
        }
        bed.heal();
        bed
    }

    fn add(&self, host: usize) {
        let name = self.name(host);
        must(&format!("netns add {name}"));
        must(&format!("-n {name} link set lo up"));
        self.plug(host);
    }

    /// Makes a host's interface and its cable.
    fn plug(&self, host: usize) {
        let (name, bridge, port) = (self.name(host), self.bridge(), port(host));
        must(&format!("-n {name} link add {INTERFACE} type veth peer name {port} netns {bridge}"));
        must(&format!("-n {name} link set {INTERFACE} address {}", hardware(host)));
        must(&format!("-n {name} addr add {}/24 dev {INTERFACE}", address(host)));
        must(&format!("-n {name} link set {INTERFACE} up"));
        must(&format!("-n {bridge} link set {port} master br0 up"));
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// The namespace of a host.
    pub(crate) fn name(&self, host: usize) -> String {
        format!("{}{host}", self.prefix)
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    /// How much a host has received of some kind, as its kernel counts it: `InBcastPkts`, `InMcastPkts`.
    pub(crate) fn counter(&self, host: usize, name: &str) -> u64 {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host), "cat", "/proc/net/netstat"]);
        let told = command.output().expect("ip was there before").stdout;
        let told = String::from_utf8_lossy(&told);
        let mut lines = told.lines().filter_map(|line| line.strip_prefix("IpExt: "));
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        let mut counters = names.split(' ').zip(values.split(' '));
        let (_, value) = counters.find(|(other, _)| *other == name).expect("such a counter");
        value.parse().expect("a number")
    }

    /// Nothing that `from` sends to it alone reaches `to` any more; the other direction is as it was.
    pub(crate) fn cut(&self, from: usize, to: usize) {
        self.know(from, to, NOWHERE);
    }

    /// Pulls a host's cable.
    pub(crate) fn unplug(&self, host: usize) {
        must(&format!("-n {} link set {} down", self.bridge(), port(host)));
    }

    /// Takes a host's interface away and makes it anew, with the same addresses and all links whole.
    pub(crate) fn remake_interface(&self, host: usize) {
        must(&format!("-n {} link del {INTERFACE}", self.name(host)));
        self.plug(host);
        self.heal();
    }

    /// Moves a host's address to a bridge over its interface, as where virtual machines are to share that.
    pub(crate) fn move_address_to_bridge(&self, host: usize) {
        let (name, address) = (self.name(host), address(host));
        must(&format!("-n {name} addr del {address}/24 dev {INTERFACE}"));
        must(&format!("-n {name} link add over0 address {} type bridge", hardware(host)));
        must(&format!("-n {name} link set {INTERFACE} master over0"));
        must(&format!("-n {name} addr add {address}/24 dev over0"));
        must(&format!("-n {name} link set over0 up"));
    }

    /// Lets all frames be so long.
    pub(crate) fn set_mtu(&self, mtu: u32) {
        for host in 0..self.count() {
            must(&format!("-n {} link set {INTERFACE} mtu {mtu}", self.name(host)));
            must(&format!("-n {} link set {} mtu {mtu}", self.bridge(), port(host)));
        }
        must(&format!("-n {} link set br0 mtu {mtu}", self.bridge()));
    }

    /// Sets one of the numbers below `net.ipv4` of a host.
    pub(crate) fn set(&self, host: usize, name: &str, value: u32) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host), "sh", "-c"]);
        command.arg(format!("echo {value} >/proc/sys/net/ipv4/{name}"));
        assert!(command.status().expect("ip was there before").success(), "{command:?}");
    }

    /// What reaches a host comes through so narrow a pipe, with so short a queue, that much is lost.
    pub(crate) fn squeeze(&self, host: usize, kilobits: u32) {
        let device = format!("qdisc replace dev {} root tbf", port(host));
        let narrow = format!("{device} rate {kilobits}kbit burst 1600 limit 3000");
        assert!(run("tc", &format!("-n {} {narrow}", self.bridge())), "tc {narrow}");
    }

    /// Makes every link whole.
    pub(crate) fn heal(&self) {
        for host in 0..self.count() {
            // There is nothing to remove where nothing was squeezed.
            run("tc", &format!("-n {} qdisc del dev {} root", self.bridge(), port(host)));
            must(&format!("-n {} link set {} up", self.bridge(), port(host)));
        }
        for from in 0..self.count() {
            for to in (0..self.count()).filter(|to| *to != from) {
                self.know(from, to, &hardware(to));
            }
        }
    }

    fn know(&self, host: usize, other: usize, hardware: &str) {
        let (name, other) = (self.name(host), address(other));
        must(&format!("-n {name} neigh replace {other} lladdr {hardware} dev {INTERFACE} nud permanent"));
    }

    fn remove(&self) {
        for host in 0..self.count() {
            ip(&format!("netns del {}", self.name(host)));
        }
        ip(&format!("netns del {}", self.bridge()));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes the hosts of test programs that were killed. Others may do the same meanwhile.
fn sweep() {
    let Ok(listed) = Command::new("ip").args(["netns", "list"]).output() else { return };
    let listed = String::from_utf8_lossy(&listed.stdout);
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    for orphan in names.filter(|name| is_orphan(name, PREFIX)) {
        ip(&format!("netns del {orphan}"));
    }
}

/// The address of a host.
pub(crate) fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last_byte(host))
}

fn hardware(host: usize) -> String {
    format!("02:00:00:00:00:{:02x}", last_byte(host))
}

fn last_byte(host: usize) -> u8 {
    u8::try_from(host + 1).expect("a few hosts")
}

/// The bridge's end of a host's cable.
fn port(host: usize) -> String {
    format!("port{host}")
}

fn must(words: &str) {
    assert!(ip(words), "ip {words}");
}

fn ip(words: &str) -> bool {
    run("ip", words)
}

fn run(program: &str, words: &str) -> bool {
    let mut command = Command::new(program);
    command.args(words.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
