//! The threads of a run: one for each receiver, one for each sender, and the one that keeps time.

use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::load::Load;
use crate::process::Usage;
use crate::progress::Progress;
use crate::receiver::{Received, receive};
use crate::report::Report;
use crate::sender::{Sent, send};
use crate::watch::watch;

/// What senders have to connect in before their first messages are due.
const LEAD: Duration = Duration::from_millis(50);

/// How often the one that keeps time reports.
const TICK: Duration = Duration::from_millis(100);

/// Puts a load on the daemons and reports what came of it. `on_tick` is told now and then which part
/// of the run's time is over.
///
/// # Errors
/// When the load makes no sense, a daemon does not answer, or messages do not or no longer come. What was
/// received in a wrong order is no error but stands in the report.
pub fn measure(load: &Load, mut on_tick: impl FnMut(Duration)) -> Result<Report, BenchError> {
    load.check()?;
    let usage = || load.daemon_pids.iter().map(|pid| Usage::of(*pid)).collect::<Result<Vec<_>, _>>();
    usage()?;
    let progress = Arc::new(Progress::new());
    let (watcher, receivers) = start_audience(load, &progress);
    progress.begin_sending(LEAD);
    let senders = start_senders(load, &progress);
    // Nobody ends before it is over, unless something is wrong.
    let is_in_vain = || {
        watcher.is_finished()
            || receivers.iter().any(JoinHandle::is_finished)
            || senders.iter().any(JoinHandle::is_finished)
    };
    let begun = Instant::now();
    wait(begun, load.warm_up, is_in_vain, &mut on_tick);
    let (before, measured_from) = (usage(), Instant::now());
    progress.begin_measuring();
    wait(begun, load.warm_up + load.duration, is_in_vain, &mut on_tick);
    progress.end();
    let (measured, after) = (measured_from.elapsed(), usage());
    let (received, sent) = collect(receivers, senders)?;
    join(watcher)?;
    let views = progress.network_views();
    let report = Report::new(load, measured, &received, &sent, views, (&before?, &after?));
    if report.latency.samples == 0 && report.faults.is_empty() {
        return Err(BenchError::Silent { seconds: measured.as_secs_f64() });
    }
    let receiving = received.into_iter().map(|received| received.connection);
    for connection in receiving.chain(sent.into_iter().map(|sent| sent.connection)) {
        // The figures are complete; a daemon that fails now takes nothing from them.
        let _ = connection.disconnect();
    }
    Ok(report)
}

type Running<T> = Vec<JoinHandle<Result<T, BenchError>>>;

/// Returns when the watchers see each other and all receivers are in their groups, or have failed.
fn start_audience(
    load: &Load,
    progress: &Arc<Progress>,
) -> (JoinHandle<Result<(), BenchError>>, Running<Received>) {
    let (senders, receiving) = (load.sender_count(), load.halves().1);
    let ready = Arc::new(Barrier::new(receiving.len() * load.receivers + 2));
    let watcher = {
        let (load, progress, ready) = (load.clone(), Arc::clone(progress), Arc::clone(&ready));
        thread::spawn(move || watch(&load, &ready, &progress))
    };
    let receivers = (0..)
        .zip(clients(receiving, load.receivers))
        .map(|(me, address)| {
            let (load, progress, ready) = (load.clone(), Arc::clone(progress), Arc::clone(&ready));
            thread::spawn(move || receive(&load, &address, me, senders, &ready, &progress))
        })
        .collect();
    ready.wait();
    (watcher, receivers)
}

fn start_senders(load: &Load, progress: &Arc<Progress>) -> Running<Sent> {
    (0..)
        .zip(clients(load.halves().0, load.senders))
        .map(|(sender, address)| {
            let (load, progress) = (load.clone(), Arc::clone(progress));
            thread::spawn(move || send(&load, &address, sender, &progress))
        })
        .collect()
}

/// The address of each client, `each` on every daemon.
fn clients(daemons: &[String], each: usize) -> impl Iterator<Item = String> {
    daemons.iter().flat_map(move |address| std::iter::repeat_n(address.clone(), each))
}

fn wait(begun: Instant, until: Duration, is_in_vain: impl Fn() -> bool, on_tick: &mut impl FnMut(Duration)) {
    while let Some(left) = until.checked_sub(begun.elapsed()).filter(|left| !left.is_zero() && !is_in_vain())
    {
        thread::sleep(left.min(TICK));
        on_tick(begun.elapsed());
    }
}

/// Waits for the receivers first: a sender whose messages nobody takes may never end, and is then left
/// to the end of the program. The error of a sender that did end tells more than a receiver's silence.
fn collect(
    receivers: Running<Received>,
    senders: Running<Sent>,
) -> Result<(Vec<Received>, Vec<Sent>), BenchError> {
    let received: Result<Vec<_>, _> = receivers.into_iter().map(join).collect();
    let silent = received.is_err();
    let sent: Result<Vec<_>, _> =
        senders.into_iter().filter(|sender| !silent || sender.is_finished()).map(join).collect();
    let sent = sent?;
    Ok((received?, sent))
}

fn join<T>(thread: JoinHandle<Result<T, BenchError>>) -> Result<T, BenchError> {
    thread.join().unwrap_or(Err(BenchError::Thread))
}
