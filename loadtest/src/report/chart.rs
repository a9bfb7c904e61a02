//! in → out: series of points → a line chart as SVG, which needs no script and no font of its own.
//! owns: scales, axes, what a reader has to see at once.
//! may not touch: what the numbers mean.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// Lines of the grid, about.
const TICKS: f64 = 5.0;

/// Points of a line that are marked one by one, at the most.
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

impl Chart<'_> {
    /// The chart as an element of HTML.
    pub(crate) fn render(&self) -> String {
        let mut svg = String::new();
        self.write(&mut svg).expect("writing to a string cannot fail");
        svg
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_max = points().map(|(x, _)| *x).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let x_min = points().map(|(x, _)| *x).fold(x_max, f64::min).min(0.0);
        let y_max = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let y_step = step(y_max);
        let y_max = if y_max > 0.0 {
            (y_max / y_step).ceil() * y_step
        } else {
            1.0
        };
        let x_at = |x: f64| LEFT + (x - x_min) / (x_max - x_min) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM);
        writeln!(
            out,
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title, self.title
        )?;
        let mut y = 0.0;
        while y <= y_max * 1.0001 {
            let at = y_at(y);
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            )?;
            writeln!(
                out,
                "<text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                number(y)
            )?;
            y += y_step;
        }
        for (x, name) in self.marks(x_min, x_max) {
            let at = x_at(x);
            writeln!(
                out,
                "<text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{name}</text>",
                HEIGHT - BOTTOM + 16.0
            )?;
        }
        writeln!(
            out,
            "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH / 2.0,
            HEIGHT - 6.0,
            self.x_name
        )?;
        writeln!(
            out,
            "<text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            TOP - 14.0,
            self.y_name
        )?;
        for line in &self.lines {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", x_at(*x), y_at(*y)))
                .collect();
            writeln!(
                out,
                "<polyline class=\"{}\" points=\"{}\"/>",
                line.class,
                points.join(" ")
            )?;
            // Few points are single measurements: they should be seen as such, even where there is only one.
            if line.points.len() <= DOTS_MAX {
                for (x, y) in &line.points {
                    writeln!(
                        out,
                        "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {}</title></circle>",
                        line.class,
                        x_at(*x),
                        y_at(*y),
                        line.name,
                        number(*y)
                    )?;
                }
            }
        }
        out.push_str("</svg><p class=\"key\">");
        for line in &self.lines {
            write!(out, "<span class=\"{}\">{}</span> ", line.class, line.name)?;
        }
        out.push_str("</p></figure>\n");
        Ok(())
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

    #[test]
    fn a_point_lies_where_its_value_says() {
        let chart = Chart {
            title: "t",
            x_name: "s",
            y_name: "ms",
            x_marks: Vec::new(),
            lines: vec![Line {
                name: "p50",
                class: "a",
                points: vec![(0.0, 0.0), (10.0, 10.0)],
            }],
        };
        let svg = chart.render();
        assert!(svg.contains("points=\"64.0,240.0 728.0,30.0\""), "{svg}");
    }

    #[test]
    fn an_empty_chart_is_one_too() {
        let chart = Chart {
            title: "t",
            x_name: "s",
            y_name: "ms",
            x_marks: Vec::new(),
            lines: Vec::new(),
        };
        assert!(!chart.render().contains("NaN"));
    }
}
