//! A vector field in the plane, with a path through it.

use super::{Area, Colour, Error, GREY, INK, RED, TEXT, dots, render, stroke, text};
use agents::toy::Arrow;
use plotters::chart::ChartBuilder;
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, WHITE};

/// Margins around the square of the plot, in pixels.
const LEFT: usize = 82;
const RIGHT: usize = 18;
const TOP: usize = 74;
const BOTTOM: usize = 66;
const SIDE: usize = 500;

/// Draws both axes from `-limit` to `limit`, `arrows` with the same length everywhere, and `path`, whose start and
/// whose goal at the origin are marked. A PNG.
pub fn field(
    title: &str,
    limit: f64,
    arrows: &[Arrow],
    path: &[(f64, f64)],
    colour: Colour,
) -> Result<Vec<u8>, Error> {
    render(LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM, |area| {
        head(area, title)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(dots(TOP as f64))
            .margin_right(dots(RIGHT as f64))
            .x_label_area_size(dots(BOTTOM as f64))
            .y_label_area_size(dots(LEFT as f64))
            .build_cartesian_2d(-limit..limit, -limit..limit)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("θ")
            .x_labels(5)
            .y_labels(5)
            .label_style(text(TEXT))
            .axis_desc_style(text(1.3 * TEXT))
            .axis_style(INK.stroke_width(dots(1.0) as u32))
            .set_all_tick_mark_size(dots(5.0))
            .draw()?;

        let cell = 2.0 * limit / (arrows.len() as f64).sqrt();
        for arrow in arrows {
            let length = arrow.d_theta.hypot(arrow.d_w);
            if length > 0.0 {
                let along = [arrow.d_theta / length, arrow.d_w / length];
                let at =
                    |s: f64| (arrow.theta + s * cell * along[0], arrow.w + s * cell * along[1]);
                let shaft = GREY.stroke_width(dots(1.2) as u32);
                chart.draw_series([PathElement::new(vec![at(-0.38), at(0.2)], shaft)])?;
                chart.draw_series([tip(at(0.38), along, 0.28 * cell, GREY)])?;
            }
        }

        for piece in pieces(path, limit, limit / 300.0) {
            stroke(&mut chart, &piece, 3.0, colour)?;
        }
        if let Some((at, along)) = heading(path, 0.6 * limit) {
            chart.draw_series([tip(at, along, 0.08 * limit, colour)])?;
        }
        for (at, mark) in marks(path.first().copied()) {
            chart.draw_series([Circle::new(at, dots(8.0), WHITE.filled())])?;
            chart.draw_series([Circle::new(at, dots(6.5), mark.filled())])?;
        }
        Ok(())
    })
}

/// The start and the equilibrium.
fn marks(start: Option<(f64, f64)>) -> impl Iterator<Item = ((f64, f64), Colour)> {
    start.map(|start| (start, INK)).into_iter().chain([((0.0, 0.0), RED)])
}

/// Title, name of the upright axis, and what the marks mean.
fn head(area: &Area<'_>, title: &str) -> Result<(), Error> {
    let middle = Pos::new(HPos::Left, VPos::Center);
    let row = |x: f64, y: f64| (dots(LEFT as f64 + x), dots(y));
    area.draw(&Text::new(title.to_owned(), row(0.0, 22.0), text(1.15 * TEXT).pos(middle)))?;
    let upright = (dots(14.0), dots((TOP + SIDE / 2) as f64));
    area.draw(&Text::new("w", upright, text(1.3 * TEXT).pos(middle)))?;
    for (x, colour, meaning) in [(7.0, INK, "start"), (100.0, RED, "equilibrium")] {
        area.draw(&Circle::new(row(x, 52.0), dots(6.5), colour.filled()))?;
        let label = text(0.9 * TEXT).pos(middle);
        area.draw(&Text::new(meaning, row(x + 13.0, 52.0), label))?;
    }
    Ok(())
}

/// A triangle that points along the unit vector `along`, its tip at `at`.
fn tip((x, y): (f64, f64), [dx, dy]: [f64; 2], size: f64, colour: Colour) -> Polygon<(f64, f64)> {
    let corner =
        |side: f64| (x - size * (dx + 0.45 * side * dy), y - size * (dy - 0.45 * side * dx));
    Polygon::new(vec![(x, y), corner(1.0), corner(-1.0)], colour.filled())
}

/// `points` without those beyond `limit` and without steps shorter than `step`, which nobody sees.
fn pieces(points: &[(f64, f64)], limit: f64, step: f64) -> Vec<Vec<(f64, f64)>> {
    let inside = |&(x, y): &(f64, f64)| x.abs() <= limit && y.abs() <= limit;
    let thin = |piece: &[(f64, f64)]| {
        let mut kept: Vec<(f64, f64)> = Vec::new();
        for &(x, y) in piece {
            if kept.last().is_none_or(|last| (x - last.0).hypot(y - last.1) >= step) {
                kept.push((x, y));
            }
        }
        kept
    };
    points.split(|point| !inside(point)).map(thin).filter(|piece| piece.len() > 1).collect()
}

/// Where `points` have run for `length`, and the direction of the last fifth of it.
fn heading(points: &[(f64, f64)], length: f64) -> Option<((f64, f64), [f64; 2])> {
    let after = |length: f64| {
        let mut run = 0.0;
        points.windows(2).find_map(|pair| {
            run += (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
            (run >= length).then_some(pair[1])
        })
    };
    let (from, to) = (after(0.8 * length)?, after(length)?);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let step = dx.hypot(dy);
    (step > 0.0).then_some((to, [dx / step, dy / step]))
}
