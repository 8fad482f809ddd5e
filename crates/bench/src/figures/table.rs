//! Rows of figures, as CSV and as HTML.

use std::collections::BTreeMap;

/// Named columns and rows of cells without commas or quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

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
    pub(crate) fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        let row: Vec<String> = row.into_iter().collect();
        // Else cells would be read as those of other columns, in the file as on the page.
        assert_eq!(row.len(), self.columns.len(), "a cell for each of {:?}, not {row:?}", self.columns);
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
        for name in self.columns {
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
        let column = self.columns.iter().position(|column| *column == name);
        assert!(column.is_some(), "a picture is of columns of its table: of {:?}, not {name}", self.columns);
        column.and_then(|column| row.get(column)).map_or("", String::as_str)
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

    fn table() -> Table {
        let mut table = Table::new(&["cable", "daemons", "bytes", "p50_us"]);
        for (cable, daemons, bytes, us) in [
            ("frames", 10, 100, "5"),
            ("frames", 10, 1350, "-"),
            ("frames", 2, 100, "7.5"),
            ("frames", 2, 100_000, "1234567.5"),
            ("none", 1, 100, "3"),
        ] {
            table.push([cable.to_owned(), daemons.to_string(), bytes.to_string(), us.to_owned()]);
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

    #[test]
    #[should_panic(expected = "a cell for each")]
    fn a_row_that_lacks_a_cell_is_refused() {
        table().push(["frames".to_owned(), "2".to_owned(), "100".to_owned()]);
    }

    #[test]
    #[should_panic(expected = "no separators")]
    fn a_cell_that_would_be_two_in_a_file_is_refused() {
        table().push(["a,b", "2", "100", "1"].map(str::to_owned));
    }
}
