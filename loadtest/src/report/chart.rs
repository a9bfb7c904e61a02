//! in → out: series of points → a line chart as SVG, which needs no script and no font of its own.
//! owns: scales, axes, what a reader has to see at once.
//! may not touch: what the numbers mean.

use std::fmt::{self, Write};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 50.0;
/// From the axis to the words of its marks.
const MARKS: f64 = 22.0;
/// Lines of the grid, about.
const TICKS: f64 = 5.0;
/// Points of a line that are marked one by one, at most.
const DOTS_MAX: usize = 30;

/// A line of a chart.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    /// Class of the style sheet, which gives it its colour.
    pub(crate) class: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) x_name: &'a str,
    pub(crate) y_name: &'a str,
    /// Marks of the horizontal axis; empty for round numbers.
    pub(crate) x_marks: Vec<(f64, String)>,
    pub(crate) lines: Vec<Line<'a>>,
}

/// What lies where.
struct Axes {
    x_min: f64,
    /// Above `x_min`.
    x_max: f64,
    /// Above 0.
    y_max: f64,
    y_step: f64,
}

impl Axes {
    fn x_at(&self, x: f64) -> f64 {
        LEFT + (x - self.x_min) / (self.x_max - self.x_min) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - y / self.y_max * (HEIGHT - TOP - BOTTOM)
    }
}

impl Line<'_> {
    fn write(&self, axes: &Axes, out: &mut String) -> fmt::Result {
        let places = self.points.iter().map(|(x, y)| (axes.x_at(*x), axes.y_at(*y)));
        let points: Vec<String> = places.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let class = self.class;
        writeln!(out, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "))?;
        // Few points are single measurements: they should be seen as such, even where there is only one.
        if self.points.len() > DOTS_MAX {
            return Ok(());
        }
        for ((x, y), (_, value)) in places.zip(&self.points) {
            let title = format!("{}: {}", self.name, number(*value));
            writeln!(
                out,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{title}</title></circle>"
            )?;
        }
        Ok(())
    }
}

impl Chart<'_> {
    /// The chart as an element of HTML.
    pub(crate) fn render(&self) -> String {
        let mut svg = String::new();
        self.write(&mut svg).expect("writing to a string cannot fail");
        svg
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let axes = self.axes();
        writeln!(
            out,
            "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">",
            self.title
        )?;
        self.write_grid(&axes, out)?;
        for line in &self.lines {
            line.write(&axes, out)?;
        }
        if self.lines.iter().all(|line| line.points.is_empty()) {
            let (x, y) = (WIDTH / 2.0, (TOP + HEIGHT - BOTTOM) / 2.0);
            writeln!(
                out,
                "<text class=\"x\" x=\"{x:.1}\" y=\"{y:.1}\">there was nothing to measure</text>"
            )?;
        }
        out.push_str("</svg><p class=\"key\">");
        for line in &self.lines {
            write!(out, "<span class=\"{}\">{}</span> ", line.class, line.name)?;
        }
        out.push_str("</p></figure>\n");
        Ok(())
    }

    fn axes(&self) -> Axes {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_max = points().map(|(x, _)| *x).fold(0.0, f64::max);
        let x_min = points().map(|(x, _)| *x).fold(x_max, f64::min).min(0.0);
        let y_max = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let y_step = step(y_max);
        Axes {
            x_min,
            // A single instant has an axis too.
            x_max: if x_max > x_min { x_max } else { x_min + 1.0 },
            y_max: ((y_max / y_step).ceil() * y_step).max(y_step),
            y_step,
        }
    }

    fn write_grid(&self, axes: &Axes, out: &mut String) -> fmt::Result {
        let right = WIDTH - RIGHT;
        let mut y = 0.0;
        while y <= axes.y_max * 1.0001 {
            let (at, left) = (axes.y_at(y), LEFT - 6.0);
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            )?;
            writeln!(
                out,
                "<text class=\"y\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>",
                at + 4.0,
                number(y)
            )?;
            y += axes.y_step;
        }
        for (x, name) in self.marks(axes.x_min, axes.x_max) {
            let (x, y) = (axes.x_at(x), HEIGHT - BOTTOM + MARKS);
            writeln!(out, "<text class=\"x\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>")?;
        }
        let (x, y) = (WIDTH / 2.0, HEIGHT - 6.0);
        writeln!(
            out,
            "<text class=\"x\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            self.x_name
        )?;
        writeln!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", TOP - 20.0, self.y_name)
    }

    fn marks(&self, min: f64, max: f64) -> Vec<(f64, String)> {
        if !self.x_marks.is_empty() {
            return self.x_marks.clone();
        }
        let step = step(max - min);
        let mut marks = Vec::new();
        let mut x = min;
        while x <= max * 1.0001 {
            marks.push((x, number(x)));
            x += step;
        }
        marks
    }
}

/// A round distance that divides `range` into about as many parts as there should be lines.
fn step(range: f64) -> f64 {
    if range <= 0.0 {
        return 1.0;
    }
    let rough = range / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let factor = rough / power;
    power
        * if factor <= 1.0 {
            1.0
        } else if factor <= 2.0 {
            2.0
        } else if factor <= 5.0 {
            5.0
        } else {
            10.0
        }
}

fn number(value: f64) -> String {
    if value >= 1000.0 || value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}").trim_end_matches('0').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        for (range, wanted) in [
            (10.0, 2.0),
            (7.0, 2.0),
            (100.0, 20.0),
            (0.3, 0.1),
            (0.0, 1.0),
            (45.0, 10.0),
        ] {
            assert!((step(range) - wanted).abs() < 1e-9, "{range}: {}", step(range));
        }
    }

    fn chart(points: &[(f64, f64)]) -> String {
        Chart {
            title: "t",
            x_name: "s",
            y_name: "ms",
            x_marks: Vec::new(),
            lines: vec![Line {
                name: "p50",
                class: "a",
                points: points.to_vec(),
            }],
        }
        .render()
    }

    #[test]
    fn a_point_lies_where_its_value_says() {
        let svg = chart(&[(0.0, 0.0), (10.0, 10.0)]);
        assert!(svg.contains("points=\"64.0,230.0 728.0,36.0\""), "{svg}");
    }

    #[test]
    fn few_points_or_none_have_axes_too() {
        for (points, words) in [
            (vec![], "nothing to measure"),
            (vec![(0.0, 0.0)], "cx=\"64.0\" cy=\"230.0\""),
            (vec![(0.0, 21.9)], "cx=\"64.0\""),
            (vec![(0.0, 5e-5), (0.0, 5e-5)], "cx=\"64.0\""),
        ] {
            let svg = chart(&points);
            assert!(
                svg.contains(words) && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
            let marks = svg.matches(&format!("y=\"{:.1}\"", HEIGHT - BOTTOM + MARKS)).count();
            assert_eq!(marks, 6, "0 to 1 in fifths: {svg}");
            assert_eq!(svg.matches(">0.2</text>").count(), 1, "no mark twice: {svg}");
        }
    }
}
