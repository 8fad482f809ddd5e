//! How fast each client library is: one sender to one receiver through one daemon.
//!
//! ```sh
//! cargo test --release --package antiphon-cli --test library_throughput -- --ignored --nocapture
//! ```
//!
//! Each library sends agreed messages of one size to a group for some seconds, as fast as it can and
//! with its own defaults, over TCP, and then one message of type 1. The receiver, which has joined the
//! group before, counts what came before that one; the rate is the count by the time from the first
//! message to the last. Sender and receiver are two sessions in one process, in two threads or tasks.
//!
//! A program in another language is run as `PROGRAM ADDRESS BYTES SECONDS` and prints the rate, in
//! messages a second, on its standard output.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Connection, Connector, Envelope, Event, ServiceLevel};
use bytes::Bytes;
use support::c_program::{Link, compile};
use support::cluster::Cluster;
use tokio::runtime::Builder;

const GROUP: &str = "throughput";
const SIZES: [usize; 2] = [100, 1350];
/// Each library runs once in each round, so that they share the machine's moods.
const ROUNDS: usize = 5;
const END_TYPE: i16 = 1;

/// What a run is asked for.
#[derive(Clone, Copy)]
struct Load<'a> {
    address: &'a str,
    body_bytes: usize,
    time: Duration,
}

/// A library, and what gives its rate in messages a second.
type Runner = (&'static str, fn(Load<'_>) -> f64);

/// The first one is what the others are compared with.
const RUNNERS: &[Runner] = &[
    ("Rust, blocking", |load| blocking(load, |_| {})),
    ("Rust, tokio", tokio_tasks),
    ("C", c_program),
    ("Rust, blocking, gathered until flushed", |load| blocking(load, |sender| sender.set_buffered(true))),
];

#[test]
#[ignore = "a measurement"]
fn all_libraries() {
    let seconds = std::env::var("ANTIPHON_SECONDS").map_or(2.0, |text| text.parse().expect("a number"));
    println!("| bytes | library | messages/s | ratio |\n|---|---|---|---|");
    for body_bytes in SIZES {
        let mut rates = vec![Vec::new(); RUNNERS.len()];
        for _ in 0..ROUNDS {
            for ((_, run), rates) in RUNNERS.iter().zip(&mut rates) {
                let cluster = Cluster::single("");
                let address = cluster.address(0);
                let time = Duration::from_secs_f64(seconds);
                rates.push(run(Load { address: &address, body_bytes, time }));
            }
        }
        let first = rates[0].clone();
        for ((name, _), rates) in RUNNERS.iter().zip(rates) {
            let ratios = rates.iter().zip(&first).map(|(rate, first)| rate / first).collect();
            println!("| {body_bytes} | {name} | {:.0} | {:.2} |", median(rates), median(ratios));
        }
    }
}

/// The measurement itself works.
#[test]
fn every_library_has_a_rate() {
    let cluster = Cluster::single("");
    let address = cluster.address(0);
    let time = Duration::from_millis(50);
    for (name, run) in RUNNERS {
        let rate = run(Load { address: &address, body_bytes: 100, time });
        assert!(rate > 0.0, "{name}: {rate}");
    }
    let echo = Command::new("echo");
    assert!(program(echo, Load { address: "7", body_bytes: 0, time: Duration::ZERO }).is_err());
    let mut echo = Command::new("sh");
    echo.args(["-c", "echo $2", "sh"]);
    assert_eq!(program(echo, Load { address: "x", body_bytes: 350, time }), Ok(350.0));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn c_program(load: Load<'_>) -> f64 {
    let compiled = compile("throughput", Link::Shared("antiphon"));
    program(Command::new(compiled), load).expect("a rate")
}

/// Runs a program of another language.
fn program(mut program: Command, load: Load<'_>) -> Result<f64, String> {
    let (bytes, seconds) = (load.body_bytes.to_string(), load.time.as_secs_f64().to_string());
    let output = program.args([load.address, &bytes, &seconds]).output().expect("the program starts");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    out.trim().parse().map_err(|_| format!("{}: it printed {out}\n{errors}", output.status))
}

/// Counts from the first message on.
#[derive(Default)]
struct Count {
    first: Option<Instant>,
    messages: u64,
}

impl Count {
    /// The rate, when this was the last event.
    fn on_event(&mut self, event: &Event) -> Option<f64> {
        let Event::Message(message) = event else { return None };
        let first = *self.first.get_or_insert_with(Instant::now);
        if message.message_type == END_TYPE {
            return Some(self.messages as f64 / first.elapsed().as_secs_f64());
        }
        self.messages += 1;
        None
    }
}

fn envelope() -> Envelope {
    Envelope::new(ServiceLevel::Agreed).to(GROUP).expect("a legal name")
}

fn blocking(load: Load<'_>, choose: fn(&mut Connection)) -> f64 {
    let mut receiver = Connector::new(load.address).connect().expect("accepted");
    let mut sender = Connector::new(load.address).membership(false).connect().expect("accepted");
    receiver.join(GROUP).expect("sent");
    receiver.receive().expect("a view");
    choose(&mut sender);
    let Load { body_bytes, time, .. } = load;
    let sending = thread::spawn(move || {
        let (envelope, body, begun) = (envelope(), vec![0; body_bytes], Instant::now());
        while begun.elapsed() < time {
            for _ in 0..100 {
                sender.send(&envelope, &body).expect("sent");
            }
        }
        sender.send(&envelope.message_type(END_TYPE), &body).expect("sent");
        sender.flush().expect("written");
        sender
    });
    let mut count = Count::default();
    let rate = loop {
        if let Some(rate) = count.on_event(&receiver.receive().expect("connected")) {
            break rate;
        }
    };
    drop(sending.join().expect("sent all"));
    rate
}

fn tokio_tasks(load: Load<'_>) -> f64 {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (address, body_bytes, time) = (load.address.to_owned(), load.body_bytes, load.time);
    runtime.block_on(async move {
        let mut receiver = Connector::new(&address).connect_tokio().await.expect("accepted");
        let connector = Connector::new(&address).membership(false);
        let mut sender = connector.connect_tokio().await.expect("accepted");
        receiver.join(GROUP).await.expect("sent");
        receiver.receive().await.expect("a view");
        let receiving = tokio::spawn(async move {
            let mut count = Count::default();
            loop {
                if let Some(rate) = count.on_event(&receiver.receive().await.expect("connected")) {
                    return rate;
                }
            }
        });
        let (envelope, body, begun) = (envelope(), Bytes::from(vec![0; body_bytes]), Instant::now());
        while begun.elapsed() < time {
            for _ in 0..100 {
                sender.send(&envelope, body.clone()).await.expect("sent");
            }
        }
        sender.send(&envelope.message_type(END_TYPE), body).await.expect("sent");
        receiving.await.expect("received all")
    })
}
