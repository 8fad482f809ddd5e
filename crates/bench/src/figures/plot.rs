//! Lines in a picture.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::table::{Lines, Table};
use crate::error::BenchError;

const SIZE: (u32, u32) = (760, 460);

/// A picture of a table.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Name of the file, without its ending.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Lines,
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
    /// A picture of two columns of a table, whose names the axes bear; a line for each combination of
    /// what stands in the columns `by`.
    pub(crate) fn of(
        table: &Table,
        (file, title): (&'static str, &'static str),
        x: Axis,
        y: Axis,
        by: &[&str],
    ) -> Self {
        Self { file, title, x, y, lines: table.lines(x.name, y.name, by) }
    }

    /// The picture as SVG.
    ///
    /// # Errors
    /// When the drawing library refuses, as for ranges without a length.
    pub(crate) fn svg(&self) -> Result<String, BenchError> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|error| BenchError::Plot { file: self.file, said: error.to_string() })?;
        Ok(text)
    }

    fn draw<'a>(&self, text: &'a mut String) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let points = || self.lines.values().flatten();
        let x = range(self.x, points().map(|point| point.0));
        let y = range(self.y, points().map(|point| point.1));
        match (self.x.log, self.y.log) {
            (true, true) => self.draw_in(&area, x.log_scale(), y.log_scale())?,
            (true, false) => self.draw_in(&area, x.log_scale(), y)?,
            (false, true) => self.draw_in(&area, x, y.log_scale())?,
            (false, false) => self.draw_in(&area, x, y)?,
        }
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
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(self.x.name.replace('_', " "))
            .y_desc(self.y.name.replace('_', " "))
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .draw()?;
        for (number, (name, points)) in self.lines.iter().enumerate() {
            let colour = Palette99::pick(number).mix(1.0);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                .label(name.trim_start().replace("  ", ""))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    }
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

    fn plot(x: Axis, y: Axis, points: &[(f64, f64)]) -> Plot {
        let lines = Lines::from([("    2 daemons".to_owned(), points.to_vec())]);
        Plot { file: "a", title: "A title", x, y, lines }
    }

    #[test]
    fn a_picture_has_title_axes_and_a_legend_on_any_scale() {
        let points = [(64.0, 100.0), (1350.0, 250_000.0)];
        for x in [Axis::linear("the_x"), Axis::log("the_x")] {
            for y in [Axis::linear("the_y"), Axis::log("the_y")] {
                let svg = plot(x, y, &points).svg().expect("drawn");
                for text in ["A title", "the x", "the y", "2 daemons", "<polyline"] {
                    assert!(svg.contains(text), "{text} is not in {svg}");
                }
            }
        }
    }

    #[test]
    fn a_picture_of_nothing_or_of_zeros_is_drawn() {
        assert!(plot(Axis::log("x"), Axis::linear("y"), &[]).svg().is_ok());
        assert!(plot(Axis::log("x"), Axis::log("y"), &[(0.0, 0.0)]).svg().is_ok());
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!(
            [0.5, 64.0, 8192.0, 100_000.0, 1.5e6].map(|value| short(&value)),
            ["0.5", "64", "8192", "100k", "1.5M"]
        );
    }
}
