//! `stac-bench toy`: the motivating examples of the paper (Section 3.2, Appendix A), as pictures and tables.

use crate::cli::ToyArgs;
use crate::failure::Failure;
use crate::picture::{self, Axes, BLUE, Colour, GREEN, Line, ORANGE};
use crate::run_dir::write_whole;
use agents::rng::{Purpose, Rng};
use agents::toy::{self, Arrow, Deterministic, Entropic, Leading, Point, Toy, Trajectory};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Iterations whose return Figure 5(b) shows, at most.
const RETURNS: usize = 5_000;
/// Arrows of a vector field, per axis.
const ARROWS: u32 = 20;
/// Draws of samples behind each arrow of the entropic example.
const DRAWS: u32 = 200;
/// Axes of a vector field end no farther out than this, wherever the players go.
const FARTHEST: f64 = 10.0;

/// What a panel shows, of which example.
enum Panel {
    /// The vector field and the trajectory of one play.
    Field(usize, usize),
    /// The distance to the equilibrium in every play.
    Error(usize),
    /// The return in every play.
    Return(usize),
}

/// Figures 1, 2, 4, 5, 6 and 7; some of their panels show the same.
const PANELS: [(&str, Panel); 14] = [
    ("figure1a", Panel::Field(0, 0)),
    ("figure1b", Panel::Field(0, 1)),
    ("figure1c", Panel::Error(0)),
    ("figure2a", Panel::Field(1, 0)),
    ("figure2b", Panel::Field(1, 1)),
    ("figure4a", Panel::Field(0, 0)),
    ("figure4b", Panel::Field(0, 1)),
    ("figure4c", Panel::Field(0, 2)),
    ("figure5a", Panel::Error(0)),
    ("figure5b", Panel::Return(0)),
    ("figure6a", Panel::Field(1, 0)),
    ("figure6b", Panel::Field(1, 1)),
    ("figure7a", Panel::Error(1)),
    ("figure7b", Panel::Return(1)),
];

/// An example with everything that was played.
struct Example {
    name: &'static str,
    runs: Vec<Run>,
    /// Iterations whose return is shown, at most.
    returns: usize,
}

/// One play of an example.
struct Run {
    kind: Kind,
    trajectory: Trajectory,
    field: Vec<Arrow>,
    /// Where the axes of the field end.
    limit: f64,
}

/// What the leader descends, and how that is told from the others.
#[derive(Clone)]
struct Kind {
    play: Leading,
    /// Heading of its column in tables.
    column: &'static str,
    /// Its name in pictures.
    label: String,
    colour: Colour,
}

/// Plays both examples, writes every panel as a picture and a table, and prints how the plays ended.
pub fn run(arguments: &ToyArgs) -> Result<(), Failure> {
    let out = &arguments.out;
    let mut files = PANELS.iter().flat_map(|(name, panel)| files(out, name, panel));
    if let Some(path) = files.find(|path| path.exists() && !arguments.overwrite) {
        let path = path.display();
        let message =
            format!("{path} is there: `--overwrite` replaces it, another `--out` keeps it");
        return Err(Failure::Usage(message));
    }

    let examples = examples(arguments)?;
    std::fs::create_dir_all(out).map_err(Failure::file("create", out))?;
    for (name, panel) in &PANELS {
        write(out, name, panel, &examples)?;
    }
    for Example { name, runs, .. } in &examples {
        say!(
            "{name:<38}{:>10}{:>11}{:>15}{:>11}",
            "updates",
            "distance",
            "zero crossings",
            "fallbacks"
        );
        for Run { kind, trajectory, .. } in runs {
            let Trajectory { points, fallbacks } = trajectory;
            let distance = points.last().map_or(f64::NAN, Point::error);
            let (updates, crossings) = (points.len() - 1, trajectory.crossings());
            say!(
                "  {:<36}{updates:>10}{distance:>11.3e}{crossings:>15}{fallbacks:>11}",
                kind.label
            );
        }
    }
    say!("panels: {}", out.join("figure*.{png,csv}").display());
    Ok(())
}

/// The deterministic example and the entropic one, at the paper's settings where no option says otherwise.
fn examples(arguments: &ToyArgs) -> Result<[Example; 2], agents::Error> {
    let individual = Kind {
        play: Leading::Individual,
        column: "individual",
        label: "individual gradient".to_owned(),
        colour: ORANGE,
    };
    let stackelberg = Kind {
        play: Leading::Stackelberg { lambda: 0.0 },
        column: "stackelberg",
        label: "Stackelberg gradient".to_owned(),
        colour: BLUE,
    };
    let regularised = Kind {
        play: Leading::Stackelberg { lambda: arguments.lam },
        column: "regularised",
        // `{:?}` writes 1e300 so.
        label: format!("Stackelberg gradient, λ = {:?}", arguments.lam),
        colour: GREEN,
    };

    let game = Deterministic::default();
    let updates = arguments.iterations.unwrap_or(50_000);
    let runs = [individual.clone(), stackelberg.clone(), regularised]
        .map(|kind| Run::new(kind, &game, arguments.learning_rate, updates, 1));
    let runs = runs.into_iter().collect::<Result<_, _>>()?;
    let deterministic = Example { name: "Deterministic actor", runs, returns: RETURNS };

    let game = Entropic::new(Rng::new(arguments.seed, Purpose::Policy));
    let updates = arguments.iterations.unwrap_or(2_000);
    let runs = [individual, stackelberg]
        .map(|kind| Run::new(kind, &game, arguments.learning_rate, updates, DRAWS));
    let runs = runs.into_iter().collect::<Result<_, _>>()?;
    let entropic = Example { name: "Actor with entropy", runs, returns: usize::MAX };
    Ok([deterministic, entropic])
}

impl Run {
    /// Plays a copy of `game`; each arrow of the field is the mean of `draws` draws.
    fn new<G: Toy + Clone>(
        kind: Kind,
        game: &G,
        learning_rate: f64,
        updates: u64,
        draws: u32,
    ) -> Result<Self, agents::Error> {
        let trajectory = toy::play(&mut game.clone(), kind.play, learning_rate, updates)?;
        let farthest = |limit: f64, p: &Point| limit.max(p.theta.abs()).max(p.w.abs());
        // Room for the start, which lies in a corner.
        let limit = 1.05 * trajectory.points.iter().fold(1.0, farthest).min(FARTHEST);
        let limit = (10.0 * limit).ceil() / 10.0;
        let centre = move |i: u32| limit * (f64::from(2 * i + 1) / f64::from(ARROWS) - 1.0);
        let grid = (0..ARROWS * ARROWS).map(|i| (centre(i % ARROWS), centre(i / ARROWS)));
        let field = toy::vector_field(&mut game.clone(), kind.play, grid, draws)?;
        Ok(Self { kind, trajectory, field, limit })
    }
}

/// What a panel is written to.
fn files(out: &Path, name: &str, panel: &Panel) -> Vec<PathBuf> {
    let endings: &[&str] = match panel {
        Panel::Field(..) => &[".png", ".csv", "_field.csv"],
        Panel::Error(_) | Panel::Return(_) => &[".png", ".csv"],
    };
    endings.iter().map(|ending| out.join(format!("{name}{ending}"))).collect()
}

/// Writes the files of a panel.
fn write(out: &Path, name: &str, panel: &Panel, examples: &[Example; 2]) -> Result<(), Failure> {
    let contents = match *panel {
        Panel::Field(example, run) => field(&examples[example], run),
        Panel::Error(example) => error(&examples[example]),
        Panel::Return(example) => returns(&examples[example]),
    };
    let contents = contents.map_err(std::io::Error::other);
    let contents = contents.map_err(Failure::file("draw", &out.join(name)))?;
    files(out, name, panel)
        .iter()
        .zip(contents)
        .try_for_each(|(path, bytes)| write_whole(path, &bytes))
}

/// Picture, trajectory and vector field of a play.
fn field(example: &Example, run: usize) -> Result<Vec<Vec<u8>>, picture::Error> {
    let Run { kind, trajectory, field, limit } = &example.runs[run];
    let title = format!("{}: {}", example.name, kind.label);
    let path: Vec<_> = trajectory.points.iter().map(|p| (p.theta, p.w)).collect();
    let points = trajectory.points.iter().enumerate().map(|(i, p)| (i, p.theta, p.sigma, p.w));
    let arrows = field.iter().map(|a| (a.theta, a.w, a.d_theta, a.d_w));
    Ok(vec![
        picture::field(&title, *limit, field, &path, kind.colour)?,
        table(&["iteration", "theta", "sigma", "w"], points)?,
        table(&["theta", "w", "d_theta", "d_w"], arrows)?,
    ])
}

/// Picture and table of the distances to the equilibrium.
fn error(example: &Example) -> Result<Vec<Vec<u8>>, picture::Error> {
    let title = format!("{}: distance to the equilibrium", example.name);
    let axes = Axes { title: &title, y: "√(w² + θ²)", log: true };
    lines(example, &axes, usize::MAX, Point::error)
}

/// Picture and table of the returns.
fn returns(example: &Example) -> Result<Vec<Vec<u8>>, picture::Error> {
    let title = format!("{}: return", example.name);
    let axes = Axes { title: &title, y: "R(θ) = -θ²/5", log: false };
    lines(example, &axes, example.returns, Point::reward)
}

/// Picture and table of a `quantity` of every play, over the first iterations.
fn lines(
    example: &Example,
    axes: &Axes<'_>,
    iterations: usize,
    quantity: fn(&Point) -> f64,
) -> Result<Vec<Vec<u8>>, picture::Error> {
    let values = |run: &Run| run.trajectory.points.iter().map(quantity).collect::<Vec<_>>();
    let values: Vec<_> = example.runs.iter().map(values).collect();
    let kinds = || example.runs.iter().map(|run| &run.kind);

    let shown = kinds().zip(&values).map(|(kind, values)| Line {
        label: &kind.label,
        colour: kind.colour,
        values: &values[..values.len().min(iterations.saturating_add(1))],
    });
    let header: Vec<_> = ["iteration"].into_iter().chain(kinds().map(|kind| kind.column)).collect();
    let updates = values.iter().map(Vec::len).min().unwrap_or(0);
    let rows = (0..updates).map(|i| (i, values.iter().map(|v| v[i]).collect::<Vec<_>>()));
    Ok(vec![picture::lines(axes, &shown.collect::<Vec<_>>())?, table(&header, rows)?])
}

/// CSV.
fn table<R: Serialize>(
    header: &[&str],
    rows: impl Iterator<Item = R>,
) -> Result<Vec<u8>, picture::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(writer.into_inner()?)
}
