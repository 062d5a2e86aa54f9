"""`stac-bench toy`: the paper's motivating examples, read back by other programs."""

import os
import subprocess

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

FIELDS = ["1a", "1b", "2a", "2b", "4a", "4b", "4c", "6a", "6b"]
PANELS = [*FIELDS, "1c", "5a", "5b", "7a", "7b"]
ORANGE, BLUE, GREEN = (240, 140, 0), (31, 119, 180), (44, 150, 60)
RED, INK = (214, 39, 40), (40, 40, 40)


@pytest.fixture(scope="module")
def toy(binary):
    """Runs `stac-bench toy` in `folder` where no Python interpreter could start."""

    def run(folder, *arguments):
        return subprocess.run(
            [binary, "toy", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONHOME": "/nowhere"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def defaults(toy, tmp_path_factory):
    """Folder and finished process of the plain command."""
    folder = tmp_path_factory.mktemp("toy")
    done = toy(folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "toy", done


def table(folder, panel):
    return pd.read_csv(folder / f"figure{panel}.csv")


def near(picture, colour):
    """Which pixels have `colour`, give or take."""
    return np.abs(picture.astype(int) - np.array(colour)).max(axis=2) <= 12


def test_every_panel_is_a_picture_and_a_table_and_nothing_else_is_there(defaults):
    folder, _ = defaults
    files = {f"figure{panel}{ending}" for panel in PANELS for ending in (".png", ".csv")}
    files |= {f"figure{panel}_field.csv" for panel in FIELDS}
    assert {path.name for path in folder.iterdir()} == files
    for panel in PANELS:
        picture = imageio.imread(folder / f"figure{panel}.png")
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        assert min(picture.shape[:2]) > 500
        assert not table(folder, panel).isna().any().any()


@pytest.mark.parametrize(
    ("panel", "colours"),
    [
        ("4a", [ORANGE]),
        ("4b", [BLUE]),
        ("4c", [GREEN]),
        ("6b", [BLUE]),
        ("5a", [ORANGE, BLUE, GREEN]),
        ("5b", [ORANGE, BLUE, GREEN]),
        ("7a", [ORANGE, BLUE]),
        ("7b", [ORANGE, BLUE]),
    ],
)
def test_pictures_show_their_plays_and_no_others(defaults, panel, colours):
    picture = imageio.imread(defaults[0] / f"figure{panel}.png")
    for colour in (ORANGE, BLUE, GREEN):
        seen = near(picture, colour).sum()
        assert seen > 300 if colour in colours else seen == 0, (colour, seen)


@pytest.mark.parametrize("panel", FIELDS)
def test_start_and_equilibrium_are_marked_at_equal_scales_of_both_axes(defaults, panel):
    picture = imageio.imread(defaults[0] / f"figure{panel}.png")

    def disc(colour):
        """The middle of the one disc of `colour` below the legend."""
        # Opening leaves nothing of lines and letters.
        solid = ndimage.binary_opening(near(picture[70:], colour), np.ones((7, 7)))
        labels, count = ndimage.label(solid)
        assert count == 1
        return np.array(ndimage.center_of_mass(solid, labels))

    down, right = disc(RED) - disc(INK)
    assert down == pytest.approx(right, abs=1) and down > 200


@pytest.mark.parametrize(
    ("panel", "column", "distance", "half_digit", "crossings"),
    [
        ("4a", "individual", 0.0733, 5e-5, 12),
        ("4b", "stackelberg", 0.0316, 5e-5, 0),
        ("4c", "regularised", 0.00778, 5e-6, 1),
    ],
)
def test_distances_and_crossings(defaults, panel, column, distance, half_digit, crossings):
    folder, done = defaults
    play, errors = table(folder, panel), table(folder, "5a")
    assert play.iteration.tolist() == errors.iteration.tolist() == list(range(50_001))
    assert (play.theta[0], play.w[0]) == (-1, 1)
    error = np.hypot(play.theta, play.w)
    assert abs(error[49_999] - distance) <= half_digit
    assert np.allclose(errors[column], error, rtol=1e-12)
    assert np.allclose(table(folder, "5b")[column], -(play.theta**2) / 5, rtol=1e-12)
    signs = np.sign(play.theta)
    assert (signs != signs.shift(fill_value=-1)).sum() == crossings
    lines = [line.split() for line in done.stdout.splitlines()]
    ends = {(float(words[-3]), int(words[-2])) for words in lines if words[-1:] == ["0"]}
    assert (float(f"{error.iloc[-1]:.3e}"), crossings) in ends, done.stdout


@pytest.mark.parametrize(("panel", "lam"), [("4a", np.inf), ("4b", 0), ("4c", 0.04)])
def test_vector_fields_are_those_of_the_equations(defaults, panel, lam):
    field = table(defaults[0], f"{panel}_field")
    theta, w = field.theta, field.w
    implicit = -(4 * w * theta + 1.2 * theta**2) * theta / (2 * theta**2 + lam)
    assert len(field) == 400
    assert np.allclose(field.d_theta, w + implicit, rtol=1e-9)
    assert np.allclose(field.d_w, -2 * (w * theta + theta**2 / 5) * theta, rtol=1e-9)


def test_panels_that_the_paper_shows_twice_agree(defaults):
    folder, _ = defaults
    pairs = {"1a": "4a", "1b": "4b", "1c": "5a", "2a": "6a", "2b": "6b"}
    for one, other in pairs.items():
        for ending in (".png", ".csv"):
            same = [(folder / f"figure{panel}{ending}").read_bytes() for panel in (one, other)]
            assert same[0] == same[1]


def test_entropy_brings_both_plays_to_the_equilibrium(defaults):
    folder, _ = defaults
    errors = table(folder, "7a")
    assert len(errors) == 2_001
    for panel, column in (("6a", "individual"), ("6b", "stackelberg")):
        play = table(folder, panel)
        assert (play.theta[0], play.sigma[0], play.w[0]) == (-1, 1, 1)
        error = errors[column]
        assert np.allclose(error, np.hypot(play.theta, play.w), rtol=1e-12)
        blocks = [error[a:b].mean() for a, b in ((0, 100), (200, 300), (1_500, 2_001))]
        assert blocks[0] > 2 * blocks[1] > 8 * blocks[2], blocks
        # The deviation is learnt: the entropy of a squashed Gaussian is largest below 1.
        assert 0.2 < play.sigma.iloc[-1] < 1


def test_the_seed_decides_the_samples_and_nothing_else(toy, defaults, tmp_path):
    short = ["--iterations", 300]
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        done = toy(tmp_path, "--out", out, "--seed", seed, *short)
        assert done.returncode == 0, done.stderr
    for path in sorted((tmp_path / "a").iterdir()):
        same, other = ((tmp_path / out / path.name).read_bytes() for out in "bc")
        assert path.read_bytes() == same, path.name
        sampled = path.name[6] in "267"
        assert (path.read_bytes() != other) == sampled, path.name


def test_options_reach_the_plays(toy, tmp_path):
    options = ["--iterations", 20, "--learning-rate", 0.005, "--lam", 1e12]
    done = toy(tmp_path, "--out", "deep/in/here", *options)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "deep" / "in" / "here"
    play = table(folder, "4a")
    assert len(play) == 21 and play.theta[1] == pytest.approx(-0.995)
    # Proposition 2: damping without bound is individual play.
    errors = table(folder, "5a")
    assert np.allclose(errors.regularised, errors.individual, rtol=1e-9)
    assert not np.allclose(errors.stackelberg, errors.individual, rtol=1e-3)


def test_what_is_there_stays_unless_overwritten(toy, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "figure7b.csv").write_text("precious")
    (folder / "notes.txt").write_text("mine")
    short = ["--out", "out", "--iterations", 5]
    done = toy(tmp_path, *short)
    assert done.returncode == 2
    assert "out/figure7b.csv" in done.stderr and "--overwrite" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["figure7b.csv", "notes.txt"]
    assert toy(tmp_path, *short, "--overwrite").returncode == 0
    assert len(table(folder, "7b")) == 6
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--iterations", "0", "1..=1000000"),
        ("--iterations", "1000001", "1..=1000000"),
        ("--iterations", "-5", "invalid digit"),
        ("--learning-rate", "0", "above 0"),
        ("--learning-rate", "-0.1", "above 0"),
        ("--learning-rate", "inf", "finite"),
        ("--learning-rate", "fast", "finite"),
        ("--lam", "-1", "0 or above"),
        ("--lam", "nan", "finite"),
        ("--seed", "-1", "invalid digit"),
    ],
)
def test_bad_input_is_named(toy, tmp_path, option, value, reason):
    done = toy(tmp_path, option, value)
    assert done.returncode == 2
    assert option in done.stderr and f"'{value}'" in done.stderr and reason in done.stderr
    assert not any(tmp_path.iterdir())


def test_steps_too_long_end_with_an_error_and_no_files(toy, tmp_path):
    done = toy(tmp_path, "--learning-rate", "1e30")
    assert done.returncode == 1
    assert "non-finite at update" in done.stderr and "`learning_rate`" in done.stderr
    assert "panicked" not in done.stderr
    assert not any(tmp_path.iterdir())
