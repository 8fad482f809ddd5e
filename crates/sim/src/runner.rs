//! Many seeds, one after the other or on several threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antiphon_proto::StateName;
use antiphon_proto::delivery::Configuration;

use crate::check::{self, Violation};
use crate::hash::Fold;
use crate::network::Tally;
use crate::swarm::{Options, Swarm};
use crate::trace::{ProcessEvent, Trace};

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// What a daemon panicked with, and where.
    pub panic: Option<String>,
    /// Counts of what happened.
    pub totals: Totals,
    /// The trace, when something is wrong with it or it was asked for.
    pub trace: Option<Trace>,
}

impl Outcome {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.panic.is_none()
    }
}

/// Counts of what happened in one run or in many.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Events of the worlds.
    pub events: u64,
    /// Regular configurations delivered.
    pub installs: u64,
    /// Messages delivered by daemons.
    pub deliveries: u64,
    /// Messages and views read by clients.
    pub readings: u64,
    /// What the links did.
    pub network: Tally,
    /// Datagrams lost in full receive buffers.
    pub overflows: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Changes of the membership's state, from and to.
    pub transitions: BTreeMap<(StateName, StateName), u64>,
}

impl Totals {
    fn of(swarm: &Swarm) -> Self {
        let world = &swarm.world;
        let trace = &world.recorder.trace;
        let records = || trace.processes.iter().flat_map(|process| &process.records);
        let count = |is: fn(&ProcessEvent) -> bool| records().filter(|(_, event)| is(event)).count() as u64;
        Self {
            seeds: 1,
            virtual_time: Duration::from_nanos(world.now().0),
            events: world.happened(),
            installs: count(|event| matches!(event, ProcessEvent::Configured(Configuration::Regular { .. }))),
            deliveries: count(|event| matches!(event, ProcessEvent::Delivered { .. })),
            readings: trace.sessions.iter().map(|session| session.records.len() as u64).sum::<u64>()
                + trace.flushes.iter().map(|program| program.records.len() as u64).sum::<u64>(),
            network: world.network.tally,
            overflows: world.overflows,
            faults: world.faults.clone(),
            transitions: world.transitions.clone(),
        }
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.virtual_time += other.virtual_time;
        self.events += other.events;
        self.installs += other.installs;
        self.deliveries += other.deliveries;
        self.readings += other.readings;
        self.overflows += other.overflows;
        let (sum, more) = (&mut self.network, &other.network);
        sum.sent += more.sent;
        sum.lost += more.lost;
        sum.cut += more.cut;
        sum.filtered += more.filtered;
        sum.duplicated += more.duplicated;
        sum.reordered += more.reordered;
        sum.corrupted += more.corrupted;
        for (of_kind, count) in sum.kinds.iter_mut().zip(more.kinds) {
            *of_kind += count;
        }
        for (transition, count) in &other.transitions {
            *self.transitions.entry(*transition).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

/// Makes panics of daemons quiet; their text and place end in the [`Outcome`].
pub fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        LAST_PANIC.with(|last| *last.borrow_mut() = Some(info.to_string()));
    }));
}

/// Lets something happen. Returns what it panicked with, and where, if it did and panics are caught.
pub fn panic_of(run: impl FnOnce()) -> Option<String> {
    let panicked = panic::catch_unwind(AssertUnwindSafe(run)).is_err();
    panicked.then(|| {
        let text = LAST_PANIC.with(|last| last.borrow_mut().take());
        text.unwrap_or_else(|| "a daemon panicked".to_owned())
    })
}

/// Runs one seed and checks it. The trace of a good run is dropped unless `keep_trace`.
#[must_use]
pub fn run_seed(seed: u64, keep_trace: bool) -> Outcome {
    run_with(seed, Options::draw(seed), keep_trace)
}

/// Runs one seed with other options than it draws, and checks it.
#[must_use]
pub fn run_with(seed: u64, options: Options, keep_trace: bool) -> Outcome {
    let mut swarm = Swarm::with(seed, options);
    let panic = panic_of(|| swarm.run());
    let totals = Totals::of(&swarm);
    let spinning = swarm.is_spinning();
    let trace = swarm.world.recorder.trace;
    let mut violations = if panic.is_some() { Vec::new() } else { check::all(&trace) };
    if spinning {
        violations.insert(0, check::spinning(totals.events));
    }
    let keep = keep_trace || panic.is_some() || !violations.is_empty();
    Outcome { seed, violations, panic, totals, trace: keep.then_some(trace) }
}

/// A hash of everything recorded, remarks included. It costs as much as a tenth of the run.
#[must_use]
pub fn hash(trace: &Trace) -> u64 {
    let mut fold = Fold::default();
    for process in &trace.processes {
        for (at, event) in &process.records {
            fold.word(at.0);
            fold.bytes(format!("{event:?}").as_bytes());
        }
    }
    for session in &trace.sessions {
        for (at, event) in &session.records {
            fold.word(at.0);
            fold.bytes(format!("{event:?}").as_bytes());
        }
    }
    for (at, group, event) in trace.flushes.iter().flat_map(|program| &program.records) {
        fold.word(at.0);
        fold.bytes(format!("{group} {event:?}").as_bytes());
    }
    for (at, remark) in &trace.remarks {
        fold.word(at.0);
        fold.bytes(remark.as_bytes());
    }
    fold.finish()
}

/// Which seeds to run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The first seed.
    pub first: u64,
    /// How many; when 0, until the time is over.
    pub seeds: u64,
    /// Real time after which no seed begins.
    pub limit: Option<Duration>,
    /// Threads.
    pub threads: usize,
    /// Whether to go on after a failure.
    pub keep_going: bool,
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Counts.
    pub totals: Totals,
    /// The bad ones, by seed.
    pub failures: Vec<Outcome>,
    /// Seeds whose second run differed from the first.
    pub unstable: Vec<u64>,
}

/// Which seeds run twice: the multiples of this number.
const COMPARED: u64 = 100;

/// Runs seeds on several threads, one seed a thread at a time. Every hundredth seed runs twice and
/// must leave the same trace.
#[must_use]
pub fn run(job: Job) -> Summary {
    let (next, stop, started) = (AtomicU64::new(job.first), AtomicBool::new(false), Instant::now());
    let summary = Mutex::new(Summary::default());
    let worker = || {
        while !stop.load(Ordering::Relaxed) && job.limit.is_none_or(|limit| started.elapsed() < limit) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if job.seeds > 0 && seed >= job.first + job.seeds {
                break;
            }
            let is_compared = seed.is_multiple_of(COMPARED);
            let outcome = run_seed(seed, is_compared);
            let is_stable = !is_compared || {
                let again = run_seed(seed, true);
                outcome.trace.as_ref().map(hash) == again.trace.as_ref().map(hash)
            };
            let is_bad = !outcome.is_good() || !is_stable;
            if is_bad && !job.keep_going {
                stop.store(true, Ordering::Relaxed);
            }
            if let Ok(mut summary) = summary.lock() {
                summary.totals.add(&outcome.totals);
                if !is_stable {
                    summary.unstable.push(seed);
                }
                if !outcome.is_good() {
                    let few = summary.failures.len() < 20;
                    let trace = if few { outcome.trace } else { None };
                    summary.failures.push(Outcome { trace, ..outcome });
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..job.threads.max(1) {
            scope.spawn(worker);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_default();
    summary.failures.sort_by_key(|failure| failure.seed);
    summary
}
