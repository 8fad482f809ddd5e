//! Rows of figures, as CSV and as HTML.

use std::collections::BTreeMap;

/// Named columns and rows of cells without commas or quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// Points of one line in a plot, by what the line stands for.
pub(crate) type Lines = BTreeMap<String, Vec<(f64, f64)>>;

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

    /// The columns `x` and `y` as lines, one for each combination of what stands in the columns `by`.
    /// Cells that are no numbers are left out.
    pub(crate) fn lines(&self, x: &str, y: &str, by: &[&str]) -> Lines {
        let mut lines = Lines::new();
        for row in &self.rows {
            let number = |name: &str| self.cell(row, name).parse::<f64>().ok();
            let (Some(x), Some(y)) = (number(x), number(y)) else { continue };
            let labels: Vec<String> = by.iter().map(|name| label(name, self.cell(row, name))).collect();
            lines.entry(labels.join(", ")).or_default().push((x, y));
        }
        lines
    }

    fn cell<'a>(&self, row: &'a [String], name: &str) -> &'a str {
        let column = self.columns.iter().position(|column| *column == name);
        assert!(column.is_some(), "a picture is of columns of its table: of {:?}, not {name}", self.columns);
        column.and_then(|column| row.get(column)).map_or("", String::as_str)
    }
}

/// A word says what it is; a number needs its column, and room in front so that lines sort by it.
fn label(column: &str, cell: &str) -> String {
    if cell.parse::<u64>().is_ok() { format!("{cell:>5} {column}") } else { cell.to_owned() }
}

/// The name of a column for readers: `p50_us` is p50 µs.
fn heading(column: &str) -> String {
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
        let mut table = Table::new(&["cable", "daemons", "bytes", "rate"]);
        for (daemons, bytes, rate) in [(2, 100, "7.5"), (2, 1350, "9"), (10, 100, "5"), (10, 1350, "-")] {
            table.push(["frames".to_owned(), daemons.to_string(), bytes.to_string(), rate.to_owned()]);
        }
        table
    }

    #[test]
    fn a_file_has_a_line_for_each_row() {
        let text = table().csv();
        assert!(text.starts_with("cable,daemons,bytes,rate\nframes,2,100,7.5\n"), "{text}");
        assert_eq!(text.lines().count(), 5);
        assert!(table().html().contains("<td>frames</td><td>2</td>"));
    }

    #[test]
    fn lines_are_told_apart_by_columns_and_in_the_order_of_numbers() {
        let lines: Vec<_> = table().lines("bytes", "rate", &["cable", "daemons"]).into_iter().collect();
        let expected = [
            ("frames,     2 daemons".to_owned(), vec![(100.0, 7.5), (1350.0, 9.0)]),
            ("frames,    10 daemons".to_owned(), vec![(100.0, 5.0)]),
        ];
        assert_eq!(lines, expected);
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
