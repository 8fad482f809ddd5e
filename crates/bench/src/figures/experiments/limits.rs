//! What the bed can do at best.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::Lab;
use super::super::bed::{Bed, Cable, address};
use super::super::table::Table;
use super::number;
use crate::error::BenchError;
use crate::limits::{Arrived, unix_hops_us, unix_mbit_per_second};

/// Payload of a datagram that fills a frame of an Ethernet.
const DATAGRAM_BYTES: usize = 1472;

/// Datagrams of one call with segmentation offload.
const SEGMENTS: usize = 44;

const PORT: u16 = 4999;

/// Datagrams through the bridge, bytes through Unix sockets.
pub(super) fn limits(lab: &Lab<'_>) -> Result<Table, BenchError> {
    let mut table = Table::new();
    for cable in [Cable::Batches, Cable::Frames, Cable::Mbit(100)] {
        let bed = Bed::new(2, cable, &lab.janitor)?;
        for (sent, segments) in [("batches", SEGMENTS), ("one a call", 1)] {
            let what = format!("UDP sent as {sent}; cable: {}", cable.name());
            lab.step(&what);
            let arrived = through(lab, &bed, segments)?;
            table.push([
                ("what", what),
                ("bytes", DATAGRAM_BYTES.to_string()),
                ("datagrams_per_second", number(arrived.datagrams_per_second, 0)),
                ("Mbit_per_second", number(arrived.mbit_per_second, 1)),
                ("p50_us", "-".to_owned()),
            ]);
        }
    }
    for bytes in [8192, 100_000] {
        let rate = unix_mbit_per_second(bytes, time(lab)).map_err(BenchError::system("Unix sockets"))?;
        let none = || "-".to_owned();
        table.push([
            ("what", "Unix stream".to_owned()),
            ("bytes", bytes.to_string()),
            ("datagrams_per_second", none()),
            ("Mbit_per_second", number(rate, 0)),
            ("p50_us", none()),
        ]);
    }
    for relays in 0..=3 {
        let us = unix_hops_us(relays, 1000).map_err(BenchError::system("Unix sockets"))?;
        let what = format!("one message through {relays} sleeping threads to another");
        table.push([
            ("what", what),
            ("bytes", "1000".to_owned()),
            ("datagrams_per_second", "-".to_owned()),
            ("Mbit_per_second", "-".to_owned()),
            ("p50_us", number(us, 0)),
        ]);
    }
    Ok(table)
}

fn time(lab: &Lab<'_>) -> Duration {
    lab.by_extent(Duration::from_secs(2), Duration::from_secs(1), Duration::from_millis(200))
}

/// From host 0 to host 1, by processes of this very program in their namespaces.
fn through(lab: &Lab<'_>, bed: &Bed, segments: usize) -> Result<Arrived, BenchError> {
    let to = SocketAddr::from((address(1), PORT)).to_string();
    let seconds = time(lab).as_secs_f64();
    let on_host = |host: usize, words: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &bed.host(host)]);
        command.arg(std::env::current_exe()?).args(["bench", "udp"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok::<_, io::Error>(command)
    };
    let run = || {
        let mut sink = on_host(1, &["sink", "--at", &to, "--seconds", &seconds.to_string()])?;
        let (sink, mut output) = lab.janitor.spawn_piped(&mut sink)?;
        // The source is ended when the sink has counted; should that fail, it ends by itself.
        let longer = (seconds + 20.0).to_string();
        let (bytes, segments) = (DATAGRAM_BYTES.to_string(), segments.to_string());
        let to_sink =
            ["source", "--at", &to, "--bytes", &bytes, "--segments", &segments, "--seconds", &longer];
        let source = lab.janitor.spawn(&mut on_host(0, &to_sink)?)?;
        let mut counted = Vec::new();
        output.read_to_end(&mut counted)?;
        lab.janitor.kill(sink);
        lab.janitor.kill(source);
        Ok(counted)
    };
    let counted = run().map_err(BenchError::system("UDP between two hosts"))?;
    serde_json::from_slice(&counted)
        .map_err(|error| BenchError::system("UDP between two hosts")(error.into()))
}
