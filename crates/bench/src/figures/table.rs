//! Rows of figures, as CSV and as HTML.

use std::collections::BTreeMap;

/// The column that counts what went wrong.
const FAULTS: &str = "faults";

/// What the rows of several rounds have behind their own columns.
const EXTREMES: [&str; 2] = ["lowest", "highest"];

/// Named columns and rows of cells without commas or quotes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Table {
    /// Those of the first row.
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

/// What stands in a row, with the name of its column.
pub(crate) type Cell = (&'static str, String);

type Row = Vec<String>;

/// One line in a plot.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    /// What it stands for.
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What lines are sorted by: numbers by their size and before words, as "20" is less than "4" as a word.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Number(u64),
    Word(&'a str),
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What rounds that gave the same rows come to: of each row that of the round with the median (of two, the
    /// greater) in the first of the columns `by` in which the row has a number in any round. It has the faults of all
    /// rounds and, behind it, the lowest and the highest in that column. Nothing for no round.
    pub(crate) fn median(rounds: &[Self], by: &[&str]) -> Option<Self> {
        let (first, others) = rounds.split_first()?;
        if others.is_empty() {
            return Some(first.clone());
        }
        let columns = [first.columns.as_slice(), &EXTREMES].concat();
        let mut table = Self { columns, rows: Vec::new() };
        for place in 0..first.rows.len() {
            let rows: Vec<&Row> = rounds.iter().filter_map(|round| round.rows.get(place)).collect();
            // Else rows would be compared with those of something else.
            assert_eq!(rows.len(), rounds.len(), "the same rows in each round");
            table.rows.push(first.median_row(rows, by));
        }
        Some(table)
    }

    fn median_row(&self, mut rows: Vec<&Row>, by: &[&str]) -> Row {
        let number = |row: &Row, name: &str| self.cell(row, name).parse::<f64>().unwrap_or(f64::NAN);
        let is_known = |name: &str| rows.iter().any(|row| number(row, name).is_finite());
        let Some(name) = by.iter().copied().find(|name| is_known(name)) else {
            let unknown = EXTREMES.map(|_| "-".to_owned());
            return rows.swap_remove(0).iter().cloned().chain(unknown).collect();
        };
        let all = rows.clone();
        rows.retain(|row| number(row, name).is_finite());
        rows.sort_by(|one, other| number(one, name).total_cmp(&number(other, name)));
        let mut median = rows.get(rows.len() / 2).map(|row| row.to_vec()).unwrap_or_default();
        if let Some(cell) = self.column(FAULTS).and_then(|column| median.get_mut(column)) {
            *cell = all.iter().map(|row| number(row, FAULTS)).sum::<f64>().to_string();
        }
        let extremes = [rows.first(), rows.last()].into_iter().flatten();
        median.extend(extremes.map(|row| self.cell(row, name).to_owned()));
        median
    }

    /// Adds a row, with the same columns as the rows before.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let (columns, row): (Vec<&'static str>, Row) = cells.into_iter().unzip();
        if self.rows.is_empty() {
            self.columns = columns;
        } else {
            // Else cells would be read as those of other columns, in the file as on the page.
            assert_eq!(columns, self.columns, "the same columns in each row");
        }
        assert!(!row.iter().any(|cell| cell.contains([',', '"', '\n'])), "no separators in {row:?}");
        self.rows.push(row);
    }

    pub(crate) fn csv(&self) -> String {
        let mut text = self.columns.join(",") + "\n";
        self.rows.iter().for_each(|row| text += &(row.join(",") + "\n"));
        text
    }

    pub(crate) fn html(&self) -> String {
        let mut text = String::from("<table>\n<tr>");
        for name in &self.columns {
            text += &format!("<th>{}</th>", heading(name));
        }
        for row in &self.rows {
            text += "</tr>\n<tr>";
            row.iter().for_each(|cell| text += &format!("<td>{}</td>", grouped(cell)));
        }
        text + "</tr>\n</table>\n"
    }

    /// The columns `x` and `y` as lines, one for each combination of what stands in the columns `by`, sorted by
    /// that. Cells that are no numbers are left out.
    pub(crate) fn lines(&self, x: &str, y: &str, by: &[&str]) -> Vec<Line> {
        let mut lines = BTreeMap::new();
        for row in &self.rows {
            let number = |name: &str| self.cell(row, name).parse::<f64>().ok();
            let (Some(x), Some(y)) = (number(x), number(y)) else { continue };
            let keys: Vec<Key<'_>> = by.iter().map(|name| Key::of(self.cell(row, name))).collect();
            lines.entry(keys).or_insert_with(Vec::new).push((x, y));
        }
        let label = |keys: Vec<Key<'_>>| {
            let words: Vec<String> = keys.iter().zip(by).map(|(key, column)| key.label(column)).collect();
            words.join(", ")
        };
        lines.into_iter().map(|(keys, points)| Line { label: label(keys), points }).collect()
    }

    fn cell<'a>(&self, row: &'a [String], name: &str) -> &'a str {
        let column = self.column(name);
        assert!(column.is_some(), "a column of its table: one of {:?}, not {name}", self.columns);
        column.and_then(|column| row.get(column)).map_or("", String::as_str)
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| *column == name)
    }
}

impl<'a> Key<'a> {
    fn of(cell: &'a str) -> Self {
        cell.parse().map_or(Self::Word(cell), Self::Number)
    }

    /// A word says what it is; a number needs its column.
    fn label(&self, column: &str) -> String {
        match self {
            Self::Number(1) => format!("1 {}", heading(column.strip_suffix('s').unwrap_or(column))),
            Self::Number(number) => format!("{} {}", grouped(&number.to_string()), heading(column)),
            Self::Word("none") => format!("no {}", heading(column)),
            Self::Word(word) => (*word).to_owned(),
        }
    }
}

/// The name of a column for readers: `p50_us` is p50 µs.
pub(crate) fn heading(column: &str) -> String {
    let words: Vec<&str> = column.split('_').map(|word| if word == "us" { "µs" } else { word }).collect();
    words.join(" ")
}

/// A text whose numbers of five digits and more before the point have separators: 10000.5 is 10,000.5.
fn grouped(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(grouped_word).collect();
    words.join(" ")
}

fn grouped_word(word: &str) -> String {
    let digits = word.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(word.len());
    if digits < 5 || word.parse::<f64>().is_err() {
        return word.to_owned();
    }
    let mut text = String::new();
    for (place, letter) in word.chars().enumerate() {
        if (1..digits).contains(&place) && (digits - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 4]) -> impl Iterator<Item = Cell> {
        ["cable", "daemons", "bytes", "p50_us"].into_iter().zip(cells.map(str::to_owned))
    }

    fn table() -> Table {
        let mut table = Table::new();
        for (cable, daemons, bytes, us) in [
            ("frames", 10, 100, "5"),
            ("frames", 10, 1350, "-"),
            ("frames", 2, 100, "7.5"),
            ("frames", 2, 100_000, "1234567.5"),
            ("none", 1, 100, "3"),
        ] {
            table.push(row([cable, &daemons.to_string(), &bytes.to_string(), us]));
        }
        table
    }

    #[test]
    fn a_file_has_a_line_for_each_row_and_plain_numbers() {
        let text = table().csv();
        assert!(text.starts_with("cable,daemons,bytes,p50_us\nframes,10,100,5\n"), "{text}");
        assert!(text.contains("frames,2,100000,1234567.5\n"), "{text}");
        assert_eq!(text.lines().count(), 6);
    }

    #[test]
    fn a_page_has_units_and_numbers_as_readers_know_them() {
        let text = table().html();
        assert!(text.contains("<th>p50 µs</th>"), "{text}");
        assert!(text.contains("<td>frames</td><td>2</td><td>100,000</td><td>1,234,567.5</td>"), "{text}");
    }

    #[test]
    fn lines_are_told_apart_by_columns_and_in_the_order_of_numbers() {
        let line = |label: &str, points: &[_]| Line { label: label.to_owned(), points: points.to_vec() };
        let expected = [
            line("frames, 2 daemons", &[(100.0, 7.5), (100_000.0, 1_234_567.5)]),
            line("frames, 10 daemons", &[(100.0, 5.0)]),
            line("no cable, 1 daemon", &[(100.0, 3.0)]),
        ];
        assert_eq!(table().lines("bytes", "p50_us", &["cable", "daemons"]), expected);
    }

    #[test]
    fn numbers_have_separators_where_they_are_long() {
        let texts = ["1000", "10000", "123456.78", "100000 bytes from it", "0.123456", "-", "1234567x"];
        let expected = ["1000", "10,000", "123,456.78", "100,000 bytes from it", "0.123456", "-", "1234567x"];
        assert_eq!(texts.map(grouped), expected);
    }

    fn round(rows: &[[&str; 4]]) -> Table {
        let mut table = Table::new();
        let columns = ["what", "rate", "p50_us", "faults"];
        rows.iter().for_each(|row| table.push(columns.into_iter().zip(row.map(str::to_owned))));
        table
    }

    #[test]
    fn rounds_come_to_the_row_with_the_median_the_faults_of_all_and_the_extremes() {
        let rounds = [
            round(&[
                ["a", "900", "7", "1"],
                ["b", "-", "30", "0"],
                ["c", "-", "-", "0"],
                ["d", "5", "1", "0"],
            ]),
            round(&[["a", "80", "9", "0"], ["b", "-", "4", "0"], ["c", "-", "-", "0"], ["d", "-", "1", "7"]]),
            round(&[
                ["a", "1000", "8", "2"],
                ["b", "-", "200", "5"],
                ["c", "-", "-", "0"],
                ["d", "6", "1", "0"],
            ]),
        ];
        let median = Table::median(&rounds, &["rate", "p50_us"]).expect("of three");
        let expected = "what,rate,p50_us,faults,lowest,highest\na,900,7,3,80,1000\nb,-,30,5,4,200\nc,-,-,0,-,-\n\
                        d,6,1,7,5,6\n";
        assert_eq!(median.csv(), expected);
    }

    #[test]
    fn one_round_is_as_it_is_and_none_is_nothing() {
        let only = round(&[["a", "900", "7", "1"]]);
        assert_eq!(Table::median(std::slice::from_ref(&only), &["rate"]), Some(only));
        assert_eq!(Table::median(&[], &["rate"]), None);
    }

    #[test]
    #[should_panic(expected = "the same rows in each round")]
    fn rounds_of_different_rows_are_refused() {
        let _ = Table::median(&[round(&[["a", "900", "7", "1"]]), round(&[])], &["rate"]);
    }

    #[test]
    #[should_panic(expected = "the same columns in each row")]
    fn a_row_that_lacks_a_cell_is_refused() {
        table().push(row(["frames", "2", "100", "1"]).take(3));
    }

    #[test]
    #[should_panic(expected = "no separators")]
    fn a_cell_that_would_be_two_in_a_file_is_refused() {
        table().push(row(["a,b", "2", "100", "1"]));
    }
}
