//! M1–M7: datagrams of monitors, and the report that a daemon sends back.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use antiphon_wire::monitor::{HEADER_BYTES, REPORT_BYTES};

use super::support::cluster::{Cluster, Layout};
use super::support::golden::{Exchange, Line, Step};
use super::support::raw::ANSWER_LIMIT;
use super::support::{poll, wait_until};
use super::{Difference, Outcome, Verdict, compare, number};

/// A report that was lost is asked for again after this long.
const LOST: Duration = Duration::from_secs(1);
/// Where the port for reports stands in a request.
const REPORT_PORT: std::ops::Range<usize> = 20..24;
/// Counters, and whether the ring is accelerated, which it always is here.
const NOT_COMPARED: [std::ops::Range<usize>; 5] = [0..4, 12..60, 68..74, 82..84, 86..90];
const ALLOWED: &str = "DangerousMonitor = yes\n";

/// Sends the recorded requests, and looks at what comes of them.
pub(crate) fn replay(exchange: &Exchange) -> Outcome {
    match number(&exchange.name) {
        "M1" => report_of_three(exchange)?,
        "M2" => partition(exchange),
        "M3" => report_of_one(exchange),
        "M4" => windows(exchange),
        "M5" => goes_on(exchange),
        "M6" => {
            goes_on(exchange);
            return Ok(Verdict::Different("the file is not read again"));
        }
        "M7" => end(exchange),
        other => panic!("no such exchange: {other}"),
    }
    Ok(Verdict::Same)
}

/// The recorded requests, of which those that are sent for their effect were sent twice.
fn requests(exchange: &Exchange) -> Vec<Vec<u8>> {
    let sent = exchange.lines.iter().filter_map(|line| match &line.step {
        Step::Send(request) => Some(request.clone()),
        _ => None,
    });
    sent.collect()
}

fn single() -> Cluster {
    Cluster::single(ALLOWED)
}

/// zeta, alpha and mid, on one ring.
fn three() -> Cluster {
    let hosts = [("zeta", 3), ("alpha", 2), ("mid", 4)];
    let mut cluster = Cluster::new(Layout::OwnSegments, &hosts, ALLOWED);
    (0..3).for_each(|host| cluster.launch(host));
    cluster.settle(&[0, 1, 2]);
    cluster
}

/// A monitor in the place of a daemon.
struct Monitor {
    socket: UdpSocket,
}

impl Monitor {
    fn at(address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((address, 0)).expect("a free port");
        socket.set_read_timeout(Some(LOST)).expect("settable");
        Self { socket }
    }

    /// Sends a request with the port of this monitor.
    fn send(&self, cluster: &Cluster, host: usize, request: &[u8]) {
        let mut request = request.to_vec();
        let port = self.socket.local_addr().expect("bound").port();
        request[REPORT_PORT].copy_from_slice(&u32::from(port).to_le_bytes());
        self.socket.send_to(&request, (cluster.ip(host), cluster.port())).expect("sent");
    }

    /// Asks until there is a report.
    fn ask(&self, cluster: &Cluster, host: usize, request: &[u8]) -> Vec<u8> {
        let mut report = vec![0; 2 * REPORT_BYTES];
        let length = poll(ANSWER_LIMIT, || {
            self.send(cluster, host, request);
            match self.socket.recv(&mut report) {
                Ok(length) => Some(length),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    None
                }
            }
        });
        report.truncate(length.expect("a report"));
        report
    }
}

fn half(report: &[u8], at: usize) -> i16 {
    i16::from_le_bytes(report[HEADER_BYTES + at..][..2].try_into().expect("two bytes"))
}

/// M1: asked of alpha, in its own name.
fn report_of_three(exchange: &Exchange) -> Result<(), Difference> {
    let cluster = three();
    let report = Monitor::at(cluster.ip(1)).ask(&cluster, 1, &requests(exchange)[0]);
    let expected = exchange.lines.iter().find_map(|line| match &line.step {
        Step::Expect(report) => Some((line, report.clone())),
        _ => None,
    });
    let (line, mut expected) = expected.expect("a recorded report");
    assert_eq!(report.len(), expected.len());
    for range in NOT_COMPARED {
        let range = HEADER_BYTES + range.start..HEADER_BYTES + range.end;
        expected[range.clone()].copy_from_slice(&report[range]);
    }
    compare(&Line { step: Step::Expect(expected), ..line.clone() }, &report)
}

/// M3: a single daemon is its own leader.
fn report_of_one(exchange: &Exchange) {
    let cluster = single();
    let request = &requests(exchange)[0];
    let report = Monitor::at(cluster.ip(0)).ask(&cluster, 0, request);
    let (own, leader) = (&report[HEADER_BYTES + 60..][..4], &report[HEADER_BYTES + 64..][..4]);
    assert_eq!((report.len(), own, leader), (REPORT_BYTES, &request[8..12], &request[8..12]));
}

/// M2: the first two daemons on the one side, the third on the other; then nobody is cut off.
fn partition(exchange: &Exchange) {
    let cluster = three();
    let monitor = Monitor::at(cluster.ip(1));
    let mut request = requests(exchange)[0].clone();
    let tell_all = |request: &[u8]| (0..3).for_each(|host| monitor.send(&cluster, host, request));
    tell_all(&request);
    cluster.settle(&[0, 1]);
    cluster.settle(&[2]);
    request[HEADER_BYTES..].fill(0);
    tell_all(&request);
    cluster.settle(&[0, 1, 2]);
}

/// M4: 200 packets of all daemons in a round, 30 of one in a visit.
fn windows(exchange: &Exchange) {
    let cluster = single();
    let monitor = Monitor::at(cluster.ip(0));
    requests(exchange).iter().for_each(|request| monitor.send(&cluster, 0, request));
    let status = &requests(&Exchange::named("M3"))[0];
    wait_until("the windows are those", ANSWER_LIMIT, || {
        let report = monitor.ask(&cluster, 0, status);
        (half(&report, 78), half(&report, 80)) == (200, 30)
    });
}

/// M5, M6: one daemon has nobody to be parted from, and reads its file at the start only. It answers what is asked
/// afterwards, and serves clients.
fn goes_on(exchange: &Exchange) {
    let mut cluster = single();
    let monitor = Monitor::at(cluster.ip(0));
    requests(exchange).iter().for_each(|request| monitor.send(&cluster, 0, request));
    monitor.ask(&cluster, 0, &requests(&Exchange::named("M3"))[0]);
    drop(cluster.client(0, "served"));
    cluster.assert_running();
}

/// M7: the daemon says goodbye and ends, although it is told twice.
fn end(exchange: &Exchange) {
    let mut cluster = single();
    let monitor = Monitor::at(cluster.ip(0));
    requests(exchange).iter().for_each(|request| monitor.send(&cluster, 0, request));
    let ended = cluster.process_mut(0).wait(ANSWER_LIMIT);
    assert!(ended.success(), "{ended}");
}
