//! Quantities over iterations.

use super::{Area, Colour, Error, GREY, INK, TEXT, dots, render, stroke, text};
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::element::{EmptyElement, PathElement, Text};
use plotters::prelude::IntoLogRange as _;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, WHITE};

const WIDTH: usize = 820;
const HEIGHT: usize = 540;
/// Left of the plot, in pixels.
const LEFT: f64 = 98.0;
/// Points of a line that are drawn, at most: more than there are pixels.
const POINTS: usize = 4_000;
/// Errors below this are drawn as this: a logarithm needs something to begin with.
const TINY: f64 = 1e-16;

/// A quantity at iterations 0, 1, ...
pub struct Line<'a> {
    /// Its name in the legend.
    pub label: &'a str,
    /// Its colour.
    pub colour: Colour,
    /// Its values.
    pub values: &'a [f64],
}

/// What a picture of lines says around them.
pub struct Axes<'a> {
    /// Above.
    pub title: &'a str,
    /// Beside the upright axis.
    pub y: &'a str,
    /// Whether the upright axis is logarithmic.
    pub log: bool,
}

/// Draws `lines` over iterations. A PNG.
pub fn lines(axes: &Axes<'_>, lines: &[Line<'_>]) -> Result<Vec<u8>, Error> {
    let values = || lines.iter().flat_map(|line| line.values).copied();
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    render(WIDTH, HEIGHT, |area| {
        let left = Pos::new(HPos::Left, VPos::Center);
        let at = (dots(LEFT), dots(22.0));
        area.draw(&Text::new(axes.title.to_owned(), at, text(1.15 * TEXT).pos(left)))?;
        if axes.log {
            // From a whole decade on.
            let floor = 10f64.powf(low.max(TINY).log10().floor());
            let range = floor..(1.5 * high).max(10.0 * floor);
            draw(area, axes, lines, range.log_scale(), floor, &decade_label)
        } else {
            let room = 0.05 * (high - low).max(1e-3);
            let (low, high) = (low - room, high + room);
            // Two digits tell ticks apart; adding 0 to a zero takes its sign away.
            let unit = 10f64.powf((high - low).log10().floor() - 1.0);
            let digits = (-unit.log10()).max(0.0).round() as usize;
            let plain = |y: &f64| format!("{:.digits$}", (y / unit).round() * unit + 0.0);
            draw(area, axes, lines, low..high, f64::NEG_INFINITY, &plain)
        }
    })
}

/// `lines`, with values below `floor` drawn as `floor`.
fn draw<Y>(
    area: &Area<'_>,
    axes: &Axes<'_>,
    lines: &[Line<'_>],
    range: Y,
    floor: f64,
    label: &dyn Fn(&f64) -> String,
) -> Result<(), Error>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let last = lines.iter().map(|line| line.values.len()).max().unwrap_or(0).saturating_sub(1);
    let mut chart = ChartBuilder::on(area)
        .margin_top(dots(44.0))
        .margin_right(dots(30.0))
        .margin_bottom(dots(8.0))
        .margin_left(dots(LEFT - 80.0))
        .x_label_area_size(dots(60.0))
        .y_label_area_size(dots(80.0))
        .build_cartesian_2d(0.0..last as f64, range)?;
    chart
        .configure_mesh()
        .bold_line_style(GREY.mix(0.5).stroke_width(dots(0.7) as u32))
        .light_line_style(GREY.mix(0.15))
        .max_light_lines(9)
        .x_desc("iteration")
        .y_desc(axes.y)
        .x_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(label)
        .label_style(text(TEXT))
        .axis_desc_style(text(1.15 * TEXT))
        .axis_style(INK.stroke_width(dots(1.0) as u32))
        .draw()?;
    for line in lines {
        let style = line.colour.stroke_width(dots(2.2) as u32);
        let stride = line.values.len().div_ceil(POINTS).max(1);
        let points = line.values.iter().enumerate().step_by(stride);
        let points: Vec<_> = points.map(|(i, &y)| (i as f64, y.max(floor))).collect();
        stroke(&mut chart, &points, 2.2, line.colour)?;
        chart
            .draw_series(std::iter::empty::<EmptyElement<_, _>>())?
            .label(line.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + dots(26.0), y)], style));
    }
    let corner =
        if axes.log { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::LowerRight };
    chart
        .configure_series_labels()
        .position(corner)
        .margin(dots(14.0))
        .legend_area_size(dots(34.0))
        .background_style(WHITE.mix(0.85))
        .border_style(GREY.mix(0.6))
        .label_font(text(TEXT))
        .draw()?;
    Ok(())
}

/// `10⁻²` at whole decades, nothing between them.
fn decade_label(y: &f64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let exponent = y.log10();
    if (exponent - exponent.round()).abs() > 1e-6 {
        return String::new();
    }
    let superscript = format!("{exponent:.0}")
        .chars()
        .map(|c| {
            c.to_digit(10).and_then(|digit| DIGITS.get(digit as usize)).copied().unwrap_or('⁻')
        })
        .collect::<String>();
    // Rounding may leave a minus zero.
    format!("10{}", if superscript == "⁻⁰" { "⁰" } else { &superscript })
}
