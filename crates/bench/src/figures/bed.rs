//! Hosts on one Ethernet: network namespaces joined by a bridge in a namespace of its own.
//!
//! ```text
//!  host 0: eth0 10.78.0.1 ── port0 ┐
//!  host 1: eth0 10.78.0.2 ── port1 ┼ br0     a network that is parted has the second half on br1
//!  …                               ┘
//! ```

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::error::BenchError;
use crate::janitor::Janitor;

/// What the queue at a narrow cable holds, in bytes: a few full windows, as switches have.
const QUEUE_BYTES: u32 = 500_000;

/// What a narrow cable lets through at once, in bytes.
const BURST_BYTES: u32 = 16_000;

/// Where a namespace says whether frames on its bridges go through iptables; not there while the system does not
/// know of that.
const FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// How the hosts are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cable {
    /// As fast as the machine is; batches of datagrams travel as one.
    Batches,
    /// As fast as the machine is; every datagram travels alone, as on a real wire.
    Frames,
    /// So many Mbit/s to and from each host, of frames with their headers of 14 bytes. The 24 bytes that a real
    /// wire needs for preamble, check sequence and gap do not count, as `tbf` does not know of them.
    Mbit(u32),
}

impl Cable {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Batches => "batches".to_owned(),
            Self::Frames => "frames".to_owned(),
            Self::Mbit(rate) => format!("{rate} Mbit/s"),
        }
    }
}

/// The hosts and their bridge; dropping it removes them with all that runs in them.
#[derive(Debug)]
pub(crate) struct Bed {
    prefix: String,
    hosts: usize,
    janitor: Janitor,
}

impl Bed {
    /// Makes hosts.
    ///
    /// # Errors
    /// Without root or without the programs `ip` and `tc`.
    pub(crate) fn new(hosts: usize, cable: Cable, janitor: &Janitor) -> Result<Self, BenchError> {
        let prefix = format!("figures{}n", std::process::id());
        let bed = Self { prefix, hosts, janitor: janitor.clone() };
        bed.add_all()?;
        for host in 0..hosts {
            bed.join(host, cable)?;
        }
        Ok(bed)
    }

    fn add_all(&self) -> Result<(), BenchError> {
        let bridge = self.bridge();
        let mut names: Vec<String> = (0..self.hosts).map(|host| self.host(host)).collect();
        let mut script = format!("netns add {bridge}\n");
        names.iter().for_each(|name| line(&mut script, &format!("netns add {name}")));
        for (host, name) in names.iter().enumerate() {
            let ends = format!("eth0 netns {name} type veth peer name port{host} netns {bridge}");
            line(&mut script, &format!("link add {ends}"));
        }
        names.push(bridge.clone());
        self.janitor.make_namespaces(&names, || batch("ip", &[], &script))?;
        // A switch filters nothing. Where a bridge cannot be told so, it has no filter, or takes its time.
        let _ = feed("ip", &["netns", "exec", &bridge, "tee", FILTER], "0\n");
        let mut script = String::new();
        for bridge in ["br0", "br1"] {
            // Without snooping a bridge floods multicast, as a plain switch does.
            line(&mut script, &format!("link add {bridge} type bridge mcast_snooping 0"));
            line(&mut script, &format!("link set {bridge} up"));
        }
        for host in 0..self.hosts {
            line(&mut script, &format!("link set port{host} master br0 up"));
        }
        batch("ip", &["-n", &bridge], &script)
    }

    fn join(&self, host: usize, cable: Cable) -> Result<(), BenchError> {
        let (name, address) = (self.host(host), address(host));
        let segments = if cable == Cable::Frames { " gso_max_segs 1" } else { "" };
        let mut script = format!("link set lo up\naddr add {address}/24 dev eth0\n");
        line(&mut script, &format!("link set eth0{segments} up"));
        line(&mut script, "route add 224.0.0.0/4 dev eth0");
        batch("ip", &["-n", &name], &script)?;
        if let Cable::Mbit(rate) = cable {
            let narrow = format!("root tbf rate {rate}mbit burst {BURST_BYTES} limit {QUEUE_BYTES}\n");
            batch("tc", &["-n", &name], &format!("qdisc add dev eth0 {narrow}"))?;
            batch("tc", &["-n", &self.bridge()], &format!("qdisc add dev port{host} {narrow}"))?;
        }
        Ok(())
    }

    /// The namespace of a host.
    pub(crate) fn host(&self, host: usize) -> String {
        format!("{}{host}", self.prefix)
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    /// Cuts the second half of the hosts from the first.
    pub(crate) fn part(&self) -> Result<(), BenchError> {
        self.plug_second_half("br1")
    }

    /// Makes one network of all hosts.
    pub(crate) fn heal(&self) -> Result<(), BenchError> {
        self.plug_second_half("br0")
    }

    fn plug_second_half(&self, bridge: &str) -> Result<(), BenchError> {
        let mut script = String::new();
        for host in self.hosts / 2..self.hosts {
            line(&mut script, &format!("link set port{host} master {bridge}"));
        }
        batch("ip", &["-n", &self.bridge()], &script)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.janitor.clear_bed();
    }
}

/// The address of a host.
pub(crate) fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 78, 0, 1).to_bits() + u32::try_from(host).unwrap_or(u32::MAX))
}

fn line(script: &mut String, words: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(script, "{words}");
}

/// Lets a program of iproute2 do several things.
fn batch(program: &str, options: &[&str], script: &str) -> Result<(), BenchError> {
    feed(program, &[options, &["-batch", "-"]].concat(), script)
}

/// Runs a program of iproute2 that reads `input`.
fn feed(program: &str, arguments: &[&str], input: &str) -> Result<(), BenchError> {
    let run = || {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(BenchError::system(format!("{program} (of iproute2)")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(BenchError::Bed { program: program.to_owned(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_addresses_one_after_the_other() {
        assert_eq!(address(0), Ipv4Addr::new(10, 78, 0, 1));
        assert_eq!(address(19), Ipv4Addr::new(10, 78, 0, 20));
    }
}
