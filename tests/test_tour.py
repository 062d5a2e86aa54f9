"""`docs/tour.ipynb`, run as a reader runs it."""

import nbformat
from conftest import ROOT
from nbclient import NotebookClient


def test_the_tour_runs_from_top_to_bottom_and_compares_two_algorithms(tmp_path):
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    here = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=here).execute()
    for label in ("ddpg", "stddpg-al"):
        for seed in range(3):
            assert (tmp_path / "tour" / label / f"Pendulum-v1_{seed}" / "evaluations.npz").is_file()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in shown for shown in data) == 2
    table = [shown["text/html"] for shown in data if "text/html" in shown][-1]
    assert all(word in table for word in (">ddpg<", ">stddpg-al<", "iqm_low"))
