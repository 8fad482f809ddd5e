//! All figures on one page.

use std::fmt::Write as _;

use super::experiments::{EXPERIMENTS, Experiment, Outcome};
use crate::error::BenchError;

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;font-size:13px}\
td,th{border:1px solid #ddd;padding:2px 8px;text-align:right}th{background:#f4f4f4}\
dt{float:left;clear:left;width:8em;color:#666}dd{margin-left:8em}img{max-width:100%}\
nav{clear:left}code{background:#f4f4f4}.failed{background:#fdd;padding:.5em}.part{background:#ffd;padding:.5em}";

/// An experiment and what came of it.
pub(crate) type Chapter = (&'static Experiment, Result<Outcome, BenchError>);

/// The page, with pictures by the names of their files. If some experiments are not among the chapters, it says
/// which, as files of theirs that lie beside it are of another run.
pub(crate) fn html(facts: &[(&str, String)], chapters: &[Chapter]) -> String {
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Antiphon: figures</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>Antiphon: figures</h1>\n<dl>\n"
    );
    for (name, value) in facts {
        // Writing to a string can not fail.
        let _ = writeln!(text, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
    }
    text += "</dl>\n<p>Daemons run in network namespaces joined by a bridge, one a namespace; clients reach \
             their daemon by its Unix socket. Everything shares the processors named above.</p>\n";
    contents(&mut text, chapters);
    say_what_is_missing(&mut text, chapters);
    for (experiment, outcome) in chapters {
        let Experiment { name, title, about, .. } = experiment;
        let _ = writeln!(text, "<h2 id=\"{name}\">{}</h2>\n<p>{}</p>", escaped(title), marked_up(about));
        match outcome {
            Ok(outcome) => chapter(&mut text, name, outcome),
            Err(error) => {
                let _ = writeln!(text, "<p class=\"failed\">failed: {}</p>", escaped(&error.to_string()));
            }
        }
    }
    text + "</body>\n</html>\n"
}

fn contents(text: &mut String, chapters: &[Chapter]) {
    *text += "<nav>\n<ul>\n";
    for (Experiment { name, title, .. }, _) in chapters {
        let _ = writeln!(text, "<li><a href=\"#{name}\">{}</a></li>", escaped(title));
    }
    *text += "</ul>\n</nav>\n";
}

fn say_what_is_missing(text: &mut String, chapters: &[Chapter]) {
    let shown = |name: &str| chapters.iter().any(|(experiment, _)| experiment.name == name);
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

fn chapter(text: &mut String, name: &str, outcome: &Outcome) {
    for plot in &outcome.plots {
        let (file, title) = (plot.file, plot.title);
        let _ = writeln!(text, "<p><img src=\"{file}.svg\" alt=\"{}\"></p>", escaped(title));
    }
    text.push_str(&outcome.table.html());
    let _ = writeln!(text, "<p>Faults in all runs: {}</p>", outcome.faults);
    let _ = writeln!(text, "<p><a href=\"{name}.csv\">{name}.csv</a></p>");
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
    use super::super::table::Table;
    use super::*;

    fn good() -> Outcome {
        let mut table = Table::new(&["daemons"]);
        table.push(["7".to_owned()]);
        Outcome { table, plots: Vec::new(), faults: 0 }
    }

    #[test]
    fn a_page_shows_the_machine_every_table_and_every_failure() {
        let chapters = [(&EXPERIMENTS[0], Ok(good())), (&EXPERIMENTS[1], Err(BenchError::Thread))];
        let page = html(&[("kernel", "a < b".to_owned())], &chapters);
        for text in ["<dd>a &lt; b</dd>", "<td>7</td>", "failed: a thread", EXPERIMENTS[0].name] {
            assert!(page.contains(text), "{text} is not in {page}");
        }
    }

    #[test]
    fn a_page_leads_to_its_chapters_and_names_those_that_it_lacks() {
        let all: Vec<Chapter> = EXPERIMENTS.iter().map(|experiment| (experiment, Ok(good()))).collect();
        let page = html(&[], &all);
        for experiment in EXPERIMENTS {
            let link = format!("<a href=\"#{}\">", experiment.name);
            assert!(page.contains(&link), "{link} is not in {page}");
        }
        assert!(!page.contains("is a part"), "{page}");
        let page = html(&[], &all[2..]);
        let missing = format!("Not in it: {}, {}.", EXPERIMENTS[0].name, EXPERIMENTS[1].name);
        assert!(page.contains(&missing), "{page}");
    }

    #[test]
    fn code_is_marked() {
        assert_eq!(marked_up("with `BusyPoll` < 1"), "with <code>BusyPoll</code> &lt; 1");
    }
}
