//! Lines in a picture.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::table::{Line, Table, heading};
use crate::error::BenchError;

const SIZE: (u32, u32) = (900, 460);

/// Sizes as the drawing library counts them, of which a browser shows four fifths.
const TITLE_FONT: (&str, u32) = ("sans-serif", 20);
const FONT: (&str, u32) = ("sans-serif", 16);
const DATE_FONT: (&str, u32) = ("sans-serif", 14);

/// The legend: where its first line is, how far its lines are from each other, and what a line takes.
const LEGEND_TOP: i32 = 60;
const LEGEND_STEP: i32 = 22;
const LEGEND_SAMPLE: i32 = 30;
const LEGEND_MARGIN: i32 = 12;
const LEGEND_LEAST_WIDTH: i32 = 160;

/// What a letter takes in the widest of the usual fonts, as the library knows no real fonts.
const LETTER_WIDTH: i32 = 8;

/// Colours that differ on white also for those who see fewer of them (Okabe and Ito; without yellow, with
/// brown and olive).
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(125, 70, 40),
    RGBColor(120, 130, 20),
];

/// Shapes of points, as corners around them. Five and nine have no common divisor, so that each of the first 45
/// lines has a pair of colour and shape of its own.
const SHAPES: [&[(i32, i32)]; 5] = [
    &[(-2, -5), (2, -5), (5, -2), (5, 2), (2, 5), (-2, 5), (-5, 2), (-5, -2)],
    &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
    &[(0, -6), (6, 4), (-6, 4)],
    &[(0, -7), (7, 0), (0, 7), (-7, 0)],
    &[(0, 6), (6, -4), (-6, -4)],
];

/// A picture of two columns of a table, whose names the axes bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plot {
    /// Name of the file, without its ending.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// There is a line for each combination of what stands in these columns.
    pub(crate) by: &'static [&'static str],
}

/// A plot with its lines.
struct Picture<'a> {
    plot: &'a Plot,
    lines: Vec<Line>,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    /// Whether equal distances are equal factors.
    pub(crate) log: bool,
}

impl Axis {
    pub(crate) const fn linear(name: &'static str) -> Self {
        Self { name, log: false }
    }

    pub(crate) const fn log(name: &'static str) -> Self {
        Self { name, log: true }
    }
}

impl Plot {
    /// The picture of a table as SVG, which bears the date of its figures.
    ///
    /// # Errors
    /// When the drawing library refuses, as for ranges without a length.
    pub(crate) fn svg(&self, table: &Table, date: &str) -> Result<String, BenchError> {
        self.svg_of(table.lines(self.x.name, self.y.name, self.by), date)
    }

    fn svg_of(&self, lines: Vec<Line>, date: &str) -> Result<String, BenchError> {
        let mut text = String::new();
        Picture { plot: self, lines }
            .draw(&mut text, date)
            .map_err(|error| BenchError::Plot { file: self.file, said: error.to_string() })?;
        Ok(text)
    }
}

impl Picture<'_> {
    fn draw<'a>(&self, text: &'a mut String, date: &str) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(SIZE.0 as i32 - self.legend_width());
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = range(self.plot.x, points().map(|point| point.0));
        let y = range(self.plot.y, points().map(|point| point.1));
        match (self.plot.x.log, self.plot.y.log) {
            (true, true) => self.draw_in(&left, x.log_scale(), y.log_scale())?,
            (true, false) => self.draw_in(&left, x.log_scale(), y)?,
            (false, true) => self.draw_in(&left, x, y.log_scale())?,
            (false, false) => self.draw_in(&left, x, y)?,
        }
        self.draw_legend(&right, date)?;
        area.present()?;
        Ok(())
    }

    fn draw_in<'a, X, Y>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, Shift>,
        x: X,
        y: Y,
    ) -> Result<(), Box<dyn std::error::Error + 'a>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(self.plot.title, TITLE_FONT)
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .light_line_style(WHITE)
            .x_desc(heading(self.plot.x.name))
            .y_desc(heading(self.plot.y.name))
            .label_style(FONT)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .draw()?;
        for (number, line) in self.lines.iter().enumerate() {
            let points = || line.points.iter().copied();
            chart.draw_series(LineSeries::new(points(), colour(number).stroke_width(2)))?;
            chart.draw_series(points().map(|point| EmptyElement::at(point) + marker(number)))?;
        }
        Ok(())
    }

    fn draw_legend<'a>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, Shift>,
        date: &str,
    ) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let centered = FONT.into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
        for ((number, line), y) in
            self.lines.iter().enumerate().zip((LEGEND_TOP..).step_by(LEGEND_STEP as usize))
        {
            area.draw(&PathElement::new([(0, y), (LEGEND_SAMPLE, y)], colour(number).stroke_width(2)))?;
            area.draw(&(EmptyElement::at((LEGEND_SAMPLE / 2, y)) + marker(number)))?;
            area.draw(&Text::new(line.label.as_str(), (LEGEND_SAMPLE + LEGEND_MARGIN, y), centered.clone()))?;
        }
        let (width, height) = area.dim_in_pixel();
        let corner = (width as i32 - LEGEND_MARGIN, height as i32 - LEGEND_MARGIN);
        let small = DATE_FONT.into_text_style(area).pos(Pos::new(HPos::Right, VPos::Bottom));
        area.draw(&Text::new(date, corner, small.color(&BLACK.mix(0.6))))?;
        Ok(())
    }

    /// As the longest label needs.
    fn legend_width(&self) -> i32 {
        let letters = self.lines.iter().map(|line| line.label.chars().count()).max().unwrap_or_default();
        (LEGEND_SAMPLE + 2 * LEGEND_MARGIN + LETTER_WIDTH * letters as i32).max(LEGEND_LEAST_WIDTH)
    }
}

fn colour(line: usize) -> RGBColor {
    COLOURS.iter().copied().nth(line % COLOURS.len()).unwrap_or(BLACK)
}

/// Hollow, so that lines that lie on each other show all their points.
fn marker(line: usize) -> PathElement<(i32, i32)> {
    let corners = SHAPES.iter().copied().nth(line % SHAPES.len()).unwrap_or_default();
    // To its second corner again, or the first would have a notch.
    let outline: Vec<_> = corners.iter().chain(corners.iter().take(2)).copied().collect();
    PathElement::new(outline, colour(line).stroke_width(2))
}

/// From 0, or from the smallest where distances are factors, to a little above the largest.
fn range(axis: Axis, values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| !axis.log || *value > 0.0) {
        (least, most) = (least.min(value), most.max(value));
    }
    match (axis.log, least.is_finite() && most > 0.0) {
        (_, false) => 1.0..2.0,
        (true, true) => least / 1.2..most * 1.2,
        (false, true) => 0.0..most * 1.05,
    }
}

/// A number on an axis: 1500000 is 1.5M.
fn short(value: &f64) -> String {
    let (scaled, unit) = match value.abs() {
        value if value >= 1e6 => (1e6, "M"),
        value if value >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let text = format!("{:.2}", value / scaled);
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "2026-11-28 23:36 UTC";

    fn line(label: &str, points: &[(f64, f64)]) -> Line {
        Line { label: label.to_owned(), points: points.to_vec() }
    }

    fn plot(x: Axis, y: Axis) -> Plot {
        Plot { file: "a", title: "A title", x, y, by: &[] }
    }

    fn svg(plot: Plot, points: &[(f64, f64)]) -> Result<String, BenchError> {
        plot.svg_of(vec![line("2 daemons", points)], DATE)
    }

    #[test]
    fn a_picture_has_title_axes_legend_and_date_on_any_scale() {
        let points = [(64.0, 100.0), (1350.0, 250_000.0)];
        for x in [Axis::linear("the_x"), Axis::log("the_x")] {
            for y in [Axis::linear("p50_us"), Axis::log("p50_us")] {
                let svg = svg(plot(x, y), &points).expect("drawn");
                for text in ["A title", "the x", "p50 µs", "2 daemons", DATE, "<polyline"] {
                    assert!(svg.contains(text), "{text} is not in {svg}");
                }
            }
        }
    }

    #[test]
    fn a_picture_of_nothing_or_of_zeros_is_drawn() {
        assert!(svg(plot(Axis::log("x"), Axis::linear("y")), &[]).is_ok());
        assert!(svg(plot(Axis::log("x"), Axis::log("y")), &[(0.0, 0.0)]).is_ok());
    }

    #[test]
    fn the_legend_is_as_wide_as_its_longest_label() {
        let long = "a label that is longer than any of the labels that there are";
        let plot = plot(Axis::linear("x"), Axis::linear("y"));
        let width = |lines| Picture { plot: &plot, lines }.legend_width();
        assert!(width(vec![line("short", &[]), line(long, &[])]) > LETTER_WIDTH * long.len() as i32);
        assert_eq!(width(vec![line("short", &[])]), LEGEND_LEAST_WIDTH);
    }

    #[test]
    fn lines_can_be_told_apart() {
        let looks = |line: usize| (colour(line), SHAPES[line % SHAPES.len()]);
        for line in 1..COLOURS.len() * SHAPES.len() {
            assert!((0..line).all(|other| looks(other) != looks(line)), "line {line}");
        }
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!(
            [0.5, 64.0, 8192.0, 100_000.0, 1.5e6].map(|value| short(&value)),
            ["0.5", "64", "8192", "100k", "1.5M"]
        );
    }
}
