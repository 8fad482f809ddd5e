//! Recorded exchanges: see `tests/golden/README.md` for the form of the files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What happens on one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The client sends these bytes.
    Send(Vec<u8>),
    /// The daemon sends these bytes.
    Expect(Vec<u8>),
    /// The daemon closes.
    Eof,
    /// The client closes.
    Close,
    /// Nothing comes from the daemon.
    Silent(Duration),
}

/// A step with its place.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Line in the file, from 1.
    pub(crate) number: usize,
    pub(crate) connection: String,
    pub(crate) step: Step,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

impl Exchange {
    /// Reads all files, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        // Tests of other crates read them too.
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/golden");
        let entries = std::fs::read_dir(&directory).expect("the recorded exchanges");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "hex"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Reads the file whose name starts with `prefix`.
    pub(crate) fn named(prefix: &str) -> Self {
        let found = Self::all().into_iter().find(|exchange| exchange.name.starts_with(prefix));
        found.unwrap_or_else(|| panic!("no recorded exchange {prefix}"))
    }

    /// All that the client sends on each connection.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        self.streams(|step| if let Step::Send(bytes) = step { Some(bytes) } else { None })
    }

    /// All that the daemon sends on each connection.
    pub(crate) fn expected(&self) -> Vec<Vec<u8>> {
        self.streams(|step| if let Step::Expect(bytes) = step { Some(bytes) } else { None })
    }

    fn streams(&self, bytes_of: fn(&Step) -> Option<&Vec<u8>>) -> Vec<Vec<u8>> {
        let mut streams: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for line in &self.lines {
            let stream = streams.entry(&line.connection).or_default();
            stream.extend(bytes_of(&line.step).into_iter().flatten());
        }
        streams.into_values().filter(|stream| !stream.is_empty()).collect()
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a text file");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut connection = String::new();
        let mut lines = Vec::new();
        for (text, number) in text.lines().zip(1..) {
            if let Some(name) = text.strip_prefix("# @conn ") {
                name.trim().clone_into(&mut connection);
            } else if let Some(step) = step(text) {
                lines.push(Line { number, connection: connection.clone(), step });
            }
        }
        Self { name, lines }
    }

    /// The lines before and from the first at which `here` holds.
    pub(crate) fn split(&self, here: impl Fn(&Line) -> bool) -> (&[Line], &[Line]) {
        let at = self.lines.iter().position(here).expect("the place of the cut");
        self.lines.split_at(at)
    }
}

fn step(line: &str) -> Option<Step> {
    if let Some(sent) = line.strip_prefix("> ") {
        return Some(Step::Send(bytes(sent)));
    }
    if let Some(expected) = line.strip_prefix("< ") {
        return Some(Step::Expect(bytes(expected)));
    }
    if let Some(milliseconds) = line.strip_prefix("# @silent ") {
        let milliseconds = milliseconds.trim().parse().expect("milliseconds");
        return Some(Step::Silent(Duration::from_millis(milliseconds)));
    }
    match line.trim_end() {
        "# @eof" => Some(Step::Eof),
        "# @close" => Some(Step::Close),
        _ => None,
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim().as_bytes();
    assert!(hex.len().is_multiple_of(2), "whole bytes");
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
