//! Pictures, drawn without a font, a display or a library of the system's.

mod field;
mod lines;

pub use field::field;
pub use lines::{Axes, Line, lines};
pub use plotters::style::RGBColor as Colour;

use plotters::backend::BitMapBackend;
use plotters::chart::ChartContext;
use plotters::coord::{CoordTranslate, Shift};
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement};
use plotters::style::{Color as _, FontStyle, IntoFont as _, TextStyle, register_font};

/// Why a picture could not be drawn.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Of an individual gradient.
pub const ORANGE: Colour = Colour(240, 140, 0);
/// Of a Stackelberg gradient.
pub const BLUE: Colour = Colour(31, 119, 180);
/// Of a regularised Stackelberg gradient.
pub const GREEN: Colour = Colour(44, 150, 60);
const RED: Colour = Colour(214, 39, 40);
const GREY: Colour = Colour(150, 150, 150);
const INK: Colour = Colour(40, 40, 40);

/// Dots per pixel and axis while drawing; their mean is the pixel, so that edges are smooth.
const DOTS: usize = 3;

/// Size of ordinary text, in pixels.
const TEXT: f64 = 19.0;

/// `x` pixels in dots.
fn dots(x: f64) -> i32 {
    (x * DOTS as f64).round() as i32
}

/// Text of `size` pixels.
fn text(size: f64) -> TextStyle<'static> {
    ("sans-serif", size * DOTS as f64).into_font().color(&INK)
}

/// A line through `points`, `width` pixels wide, with round joints: at a sharp turn, a mitre would be a thorn.
fn stroke<C: CoordTranslate<From = (f64, f64)>>(
    chart: &mut ChartContext<'_, BitMapBackend<'_>, C>,
    points: &[(f64, f64)],
    width: f64,
    colour: Colour,
) -> Result<(), Error> {
    let line = colour.stroke_width(dots(width) as u32);
    chart.draw_series(points.windows(2).map(|pair| PathElement::new(pair, line)))?;
    let joint = |&point: &(f64, f64)| Circle::new(point, dots(width / 2.0), colour.filled());
    chart.draw_series(points.iter().map(joint))?;
    Ok(())
}

/// What `draw` draws on white, `width` x `height` pixels, as PNG.
fn render(
    width: usize,
    height: usize,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the built-in font cannot be read")?;
    let (columns, rows) = (width * DOTS, height * DOTS);
    let mut fine = vec![255; columns * rows * 3];
    {
        let size = (columns as u32, rows as u32);
        let area = BitMapBackend::with_buffer(&mut fine, size).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }

    let mut pixels = Vec::with_capacity(width * height * 3);
    for i in 0..height * width * 3 {
        let (pixel, channel) = (i / 3, i % 3);
        let (row, column) = (pixel / width * DOTS, pixel % width * DOTS);
        let block = (0..DOTS * DOTS).map(|k| {
            let dot = (row + k / DOTS) * columns + column + k % DOTS;
            u32::from(fine[dot * 3 + channel])
        });
        pixels.push((block.sum::<u32>() / (DOTS * DOTS) as u32) as u8);
    }

    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    // Plain areas and repeated shapes compress best as they are.
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}
