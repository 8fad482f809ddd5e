//! The classic experiments on a test bed of this machine: tables, pictures and a page.
//!
//! | module | what |
//! |---|---|
//! | `bed` | hosts on one Ethernet, as network namespaces |
//! | `ring` | daemons on these hosts |
//! | `experiments` | what is measured, each experiment as rows |
//! | `table`, `plot`, `page`, `machine` | what becomes of the rows |

mod bed;
mod experiments;
mod machine;
mod page;
mod plot;
mod ring;
mod table;

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::bed::{Bed, Cable};
use self::experiments::{EXPERIMENTS, Experiment};
use self::page::Chapter;
use self::plot::Plot;
use self::ring::Ring;
use crate::error::BenchError;
use crate::janitor::Janitor;
use crate::load::Load;
use crate::report::Report;
use crate::run::measure;
use crate::sequence::Faults;

/// What to measure, with what, and where to write it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The program whose command `daemon` runs a daemon.
    pub program: PathBuf,
    /// Directory for tables, pictures and page.
    pub out: PathBuf,
    /// How much of each experiment.
    pub extent: Extent,
    /// How often each experiment is made: all of them once, then all of them again. What slows a shared machine for
    /// some minutes then spoils one round of some rows, not the rows. At least 1.
    pub rounds: usize,
    /// Names of experiments; all of them if there is none.
    pub only: Vec<String>,
    /// How the figures were asked for, for the page.
    pub command: String,
}

/// How much of each experiment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All points; a round takes about nine minutes.
    Full,
    /// Fewer points; a round takes about five minutes.
    Quick,
    /// A point or two, to see that it works.
    Glimpse,
}

/// Where experiments are made.
pub(crate) struct Lab<'a> {
    program: PathBuf,
    extent: Extent,
    /// For configuration, sockets and logs.
    directory: PathBuf,
    janitor: Janitor,
    on_step: &'a dyn Fn(&str),
    faults: Cell<u64>,
}

impl std::fmt::Debug for Lab<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("program", &self.program).field("directory", &self.directory).finish()
    }
}

/// What became of the figures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Experiments that ended with an error in some round, and the error.
    pub failed: Vec<(&'static str, String)>,
    /// Gaps, duplicates, order differences and false views in all runs.
    pub faults: u64,
}

/// Names and titles of all experiments.
pub fn experiments() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXPERIMENTS.iter().map(|experiment| (experiment.name, experiment.title))
}

/// Takes figures. An experiment that fails is told on the page, and the others go on. `on_step` is told
/// what is measured. The signals of [`Janitor::watch_signals`] end the process after everything was cleaned up.
///
/// # Errors
/// When an experiment is not known, no test bed can be made, or files cannot be written.
pub fn take_figures(figures: &Figures, on_step: &dyn Fn(&str)) -> Result<Taken, BenchError> {
    let chosen = choose(&figures.only)?;
    let date = machine::date();
    let facts = machine::facts(&date, &figures.command, &figures.program);
    let lab = Lab::open(&figures.program, figures.extent, on_step)?;
    // Whether there can be a bed is known before anything else is done.
    drop(Bed::new(1, Cable::Mbit(100), &lab.janitor)?);
    fs::create_dir_all(&figures.out).map_err(BenchError::system(figures.out.display().to_string()))?;
    let write_page =
        |chapters: &[Chapter]| write(&figures.out.join("index.html"), &page::html(&facts, chapters));
    // No page shows files of this run and of one before.
    write_page(&[])?;
    let mut chapters: Vec<Chapter> = chosen.into_iter().map(Chapter::new).collect();
    for round in 1..=figures.rounds {
        for place in 0..chapters.len() {
            if let Some(chapter) = chapters.get_mut(place) {
                if round == 1 {
                    remove_files(&figures.out, chapter.experiment)?;
                }
                lab.step(&format!("{}, round {round} of {}", chapter.experiment.name, figures.rounds));
                lab.add_round(chapter);
                write_files(&figures.out, chapter, &date)?;
            }
            // After each one, so that a run that is ended early has shown what it had.
            write_page(&chapters)?;
        }
    }
    Ok(taken(&chapters))
}

fn taken(chapters: &[Chapter]) -> Taken {
    let failed = |chapter: &Chapter| {
        let name = chapter.experiment.name;
        chapter.failures.iter().map(move |error| (name, error.to_string())).collect::<Vec<_>>()
    };
    Taken {
        failed: chapters.iter().flat_map(failed).collect(),
        faults: chapters.iter().map(|chapter| chapter.faults).sum(),
    }
}

/// Lets `run` put a load on daemons of the test bed, joined by cables as fast as the machine is. It is given
/// [`Load::new`] of them all, with their processes. The signals of [`Janitor::watch_signals`] end the process
/// after everything was cleaned up.
///
/// # Errors
/// When no test bed can be made, daemons do not start, or `run` fails.
pub fn on_own_bed<T>(
    program: &Path,
    daemons: usize,
    run: impl FnOnce(Load) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let lab = Lab::open(program, Extent::Full, &|_| {})?;
    let ring = Ring::start(&lab, daemons, Cable::Batches)?;
    run(ring.load())
}

fn choose(only: &[String]) -> Result<Vec<&'static Experiment>, BenchError> {
    if only.is_empty() {
        return Ok(EXPERIMENTS.iter().collect());
    }
    let find = |name: &String| {
        let names = || experiments().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        let found = EXPERIMENTS.iter().find(|experiment| experiment.name == name);
        found.ok_or_else(|| BenchError::Unknown(name.clone(), names()))
    };
    only.iter().map(find).collect()
}

/// Removes what an earlier run left of an experiment, which would pass for this run's if it fails.
fn remove_files(out: &Path, experiment: &Experiment) -> Result<(), BenchError> {
    let pictures = experiment.plots.iter().map(|plot| picture(out, plot));
    for path in pictures.chain([rows(out, experiment)]) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(BenchError::system(path.display().to_string())(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes what the rounds of an experiment came to so far, if one of them did not fail.
fn write_files(out: &Path, chapter: &Chapter, date: &str) -> Result<(), BenchError> {
    let Some(table) = chapter.table() else { return Ok(()) };
    write(&rows(out, chapter.experiment), &table.csv())?;
    for plot in chapter.experiment.plots {
        write(&picture(out, plot), &plot.svg(&table, date)?)?;
    }
    Ok(())
}

fn rows(out: &Path, experiment: &Experiment) -> PathBuf {
    out.join(format!("{}.csv", experiment.name))
}

fn picture(out: &Path, plot: &Plot) -> PathBuf {
    out.join(format!("{}.svg", plot.file))
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(path, text).map_err(BenchError::system(path.display().to_string()))
}

impl<'a> Lab<'a> {
    fn open(program: &Path, extent: Extent, on_step: &'a dyn Fn(&str)) -> Result<Self, BenchError> {
        let directory = std::env::temp_dir().join(format!("antiphon-figures-{}", std::process::id()));
        let janitor = Janitor::default();
        janitor.watch_signals().map_err(BenchError::system("signals"))?;
        fs::create_dir_all(&directory).map_err(BenchError::system(directory.display().to_string()))?;
        janitor.keep_directory(directory.clone());
        let program = program.to_owned();
        Ok(Self { program, extent, directory, janitor, on_step, faults: Cell::new(0) })
    }

    /// Says what comes next.
    fn step(&self, what: &str) {
        (self.on_step)(what);
    }

    /// What an experiment of each extent uses.
    fn by_extent<T>(&self, full: T, quick: T, glimpse: T) -> T {
        match self.extent {
            Extent::Full => full,
            Extent::Quick => quick,
            Extent::Glimpse => glimpse,
        }
    }

    /// Makes an experiment once more.
    fn add_round(&self, chapter: &mut Chapter) {
        match (chapter.experiment.run)(self) {
            Ok(table) => chapter.rounds.push(table),
            Err(error) => chapter.failures.push(error),
        }
        self.janitor.clear_bed();
        chapter.faults += self.faults.take();
    }

    /// One run, whose faults are counted.
    fn measure(&self, load: &Load) -> Result<Report, BenchError> {
        let report = measure(load, |_| {})?;
        self.count(report.faults);
        Ok(report)
    }

    fn count(&self, faults: Faults) {
        self.faults.set(self.faults.get() + faults.count());
    }

    /// How long to measure and to warm up where back-pressure sets the rate.
    fn saturating(&self, load: Load) -> Load {
        let ms = Duration::from_millis;
        let (duration, warm_up) = self.by_extent((1200, 400), (800, 300), (400, 100));
        Load { duration: ms(duration), warm_up: ms(warm_up), ..load }
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        self.janitor.clean();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn experiments_go_by_their_names_and_write_files_of_their_own() {
        let names: BTreeSet<_> = experiments().map(|(name, _)| name).collect();
        assert_eq!(names.len(), EXPERIMENTS.len());
        let plots: Vec<_> =
            EXPERIMENTS.iter().flat_map(|experiment| experiment.plots).map(|plot| plot.file).collect();
        assert_eq!(plots.iter().collect::<BTreeSet<_>>().len(), plots.len());
        assert_eq!(choose(&[]).expect("all").len(), EXPERIMENTS.len());
        assert_eq!(choose(&["fairness".to_owned()]).expect("one").len(), 1);
        assert!(matches!(choose(&["speed".to_owned()]), Err(BenchError::Unknown(name, all))
            if name == "speed" && all.contains("fairness")));
    }

    #[test]
    fn what_an_earlier_run_left_of_an_experiment_is_removed_and_nothing_else() {
        let out = std::env::temp_dir().join(format!("antiphon-outcome-{}", std::process::id()));
        fs::create_dir_all(&out).expect("a directory");
        for name in ["throughput.csv", "throughput.svg", "throughput_messages.svg", "throughput_notes.svg"] {
            fs::write(out.join(name), "").expect("a file");
        }
        for name in ["throughput", "latency"] {
            let chosen = choose(&[name.to_owned()]).expect("known");
            remove_files(&out, chosen[0]).expect("removed, or not there");
        }
        let left: Vec<_> =
            fs::read_dir(&out).expect("listed").map(|entry| entry.expect("one").file_name()).collect();
        fs::remove_dir_all(&out).expect("removed");
        assert_eq!(left, ["throughput_notes.svg"]);
    }
}
