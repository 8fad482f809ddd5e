//! All figures on one page.

use std::fmt::Write as _;

use super::experiments::{EXPERIMENTS, Experiment};
use super::table::{Table, heading};
use crate::error::BenchError;

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;font-size:13px}\
td,th{border:1px solid #ddd;padding:2px 8px;text-align:right}th{background:#f4f4f4}\
dt{float:left;clear:left;width:8em;color:#666}dd{margin-left:8em}img{max-width:100%}\
nav{clear:left}code{background:#f4f4f4}.failed{background:#fdd;padding:.5em}.part{background:#ffd;padding:.5em}";

/// An experiment and what came of it.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub(crate) experiment: &'static Experiment,
    /// The rows of each round that did not fail.
    pub(crate) rounds: Vec<Table>,
    /// Why the others did.
    pub(crate) failures: Vec<BenchError>,
    /// Gaps, duplicates, order differences and false views in all rounds.
    pub(crate) faults: u64,
}

impl Chapter {
    /// Before its first round.
    pub(crate) fn new(experiment: &'static Experiment) -> Self {
        Self { experiment, rounds: Vec::new(), failures: Vec::new(), faults: 0 }
    }

    fn has_begun(&self) -> bool {
        !(self.rounds.is_empty() && self.failures.is_empty())
    }

    /// What the rounds came to.
    pub(crate) fn table(&self) -> Option<Table> {
        Table::median(&self.rounds, self.experiment.median_by)
    }
}

/// The page, with pictures by the names of their files. If some experiments are not among the chapters that have
/// begun, it says which, as files of theirs that lie beside it are of another run.
pub(crate) fn html(facts: &[(&str, String)], chapters: &[Chapter]) -> String {
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Antiphon: figures</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>Antiphon: figures</h1>\n<dl>\n"
    );
    for (name, value) in facts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
    }
    text += "</dl>\n<p>Daemons run in network namespaces joined by a bridge, one a namespace; clients reach \
             their daemon by its Unix socket. Everything shares the processors named above.</p>\n";
    let begun: Vec<&Chapter> = chapters.iter().filter(|chapter| chapter.has_begun()).collect();
    contents(&mut text, &begun);
    say_what_is_missing(&mut text, &begun);
    begun.iter().for_each(|chapter| show(&mut text, chapter));
    text + "</body>\n</html>\n"
}

fn contents(text: &mut String, chapters: &[&Chapter]) {
    *text += "<nav>\n<ul>\n";
    for Chapter { experiment: Experiment { name, title, .. }, .. } in chapters {
        let _ = writeln!(text, "<li><a href=\"#{name}\">{}</a></li>", escaped(title));
    }
    *text += "</ul>\n</nav>\n";
}

fn say_what_is_missing(text: &mut String, chapters: &[&Chapter]) {
    let shown = |name: &str| chapters.iter().any(|chapter| chapter.experiment.name == name);
    let missing: Vec<&str> = EXPERIMENTS.iter().map(|one| one.name).filter(|name| !shown(name)).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let _ = writeln!(
            text,
            "<p class=\"part\">This page is a part. Not in it: {missing}. Files with these names beside it are of \
             other runs.</p>"
        );
    }
}

fn show(text: &mut String, chapter: &Chapter) {
    let Experiment { name, title, about, .. } = chapter.experiment;
    let _ = writeln!(text, "<h2 id=\"{name}\">{}</h2>\n<p>{}</p>", escaped(title), marked_up(about));
    for error in &chapter.failures {
        let _ = writeln!(text, "<p class=\"failed\">failed: {}</p>", escaped(&error.to_string()));
    }
    if let Some(table) = chapter.table() {
        show_rounds(text, chapter);
        for plot in chapter.experiment.plots {
            let (file, title) = (plot.file, plot.title);
            let _ = writeln!(text, "<p><img src=\"{file}.svg\" alt=\"{}\"></p>", escaped(title));
        }
        text.push_str(&table.html());
        let _ = writeln!(text, "<p><a href=\"{name}.csv\">{name}.csv</a></p>");
    }
    let _ = writeln!(text, "<p>Faults in all rounds: {}</p>", chapter.faults);
}

/// Says what rows of several rounds are.
fn show_rounds(text: &mut String, chapter: &Chapter) {
    let rounds = chapter.rounds.len();
    if rounds > 1 {
        let columns: Vec<String> = chapter.experiment.median_by.iter().map(|name| heading(name)).collect();
        let by = columns.join(" or ");
        let _ = writeln!(
            text,
            "<p>Each row is of the one of {rounds} rounds with the median {by}, of which lowest and highest are those \
             of all.</p>"
        );
    }
}

/// What stands between backticks, as code.
fn marked_up(text: &str) -> String {
    let mut marked = String::new();
    for (place, part) in escaped(text).split('`').enumerate() {
        marked += &if place % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() };
    }
    marked
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Experiment = Experiment {
        name: "plain",
        title: "A plain experiment",
        about: "",
        median_by: &["p50_us"],
        plots: &[],
        run: |_| Err(BenchError::Thread),
    };

    fn round(p50_us: u32) -> Table {
        let mut table = Table::new();
        table.push([("p50_us", p50_us.to_string())]);
        table
    }

    fn with_rounds(experiment: &'static Experiment, rounds: &[u32]) -> Chapter {
        Chapter { rounds: rounds.iter().copied().map(round).collect(), ..Chapter::new(experiment) }
    }

    #[test]
    fn a_page_shows_the_machine_every_table_and_every_failure() {
        let good = with_rounds(&PLAIN, &[7]);
        let failed = Chapter { failures: vec![BenchError::Thread], ..Chapter::new(&EXPERIMENTS[1]) };
        let page = html(&[("kernel", "a < b".to_owned())], &[good, failed]);
        for text in ["<dd>a &lt; b</dd>", "<td>7</td>", "failed: a thread", PLAIN.title, EXPERIMENTS[1].title]
        {
            assert!(page.contains(text), "{text} is not in {page}");
        }
        assert!(!page.contains("rounds with the median"), "of a single round in {page}");
    }

    #[test]
    fn several_rounds_are_one_row_and_a_round_that_failed_is_told_with_it() {
        let chapter =
            Chapter { failures: vec![BenchError::Thread], faults: 5, ..with_rounds(&PLAIN, &[30, 10, 20]) };
        let page = html(&[], &[chapter]);
        for text in [
            "of 3 rounds with the median p50 µs",
            "<td>20</td><td>10</td><td>30</td>",
            "failed: a thread",
            "Faults in all rounds: 5",
        ] {
            assert!(page.contains(text), "{text} is not in {page}");
        }
    }

    #[test]
    fn a_page_leads_to_its_chapters_and_names_those_that_it_lacks() {
        let round_of_each = |from: usize| -> Vec<Chapter> {
            let begin = |(place, experiment)| match place {
                place if place < from => Chapter::new(experiment),
                _ => Chapter { failures: vec![BenchError::Thread], ..Chapter::new(experiment) },
            };
            EXPERIMENTS.iter().enumerate().map(begin).collect()
        };
        let page = html(&[], &round_of_each(0));
        for experiment in EXPERIMENTS {
            let link = format!("<a href=\"#{}\">", experiment.name);
            assert!(page.contains(&link), "{link} is not in {page}");
        }
        assert!(!page.contains("is a part"), "{page}");
        let page = html(&[], &round_of_each(2));
        let missing = format!("Not in it: {}, {}.", EXPERIMENTS[0].name, EXPERIMENTS[1].name);
        assert!(page.contains(&missing), "{page}");
    }

    #[test]
    fn code_is_marked() {
        assert_eq!(marked_up("with `BusyPoll` < 1"), "with <code>BusyPoll</code> &lt; 1");
    }
}
