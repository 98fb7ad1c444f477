"""The chain on the smallest configuration, in a copy of the repository: what it writes, refuses and runs again."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRAINING = {
    "steps": 20,
    "batch": 16,
    "learning_rate": 5.0e-3,
    "widths": [4],
    "pieces": 2,
    "smoothing": 0.05,
    "slope": 2.0,
    "quadratic": 0.5,
    "moves": 1,
    "tolerance": 1.0e-3,
    "conjugate_steps": 50,
}
EXPLORED = {**TRAINING, "smoothing": 0.25, "share": 0.25, "scale": 4.0, "explorations": 5000}
OF_IMAGES = {**TRAINING, "steps": 2, "widths": [2], "patch": None, "stride": 1, "noise": 0.15, "conjugate_steps": 200}
CONFIG = {
    "output": "out",
    "seeds": [0, 1],
    "samples": 200,
    "gaussian": {
        "laws": {"correlated": {"mean": [0.0, 1.0], "covariance": [[1.0, 0.6], [0.6, 0.8]]}},
        "scales": {"smallest": 0.5, "largest": 2.0, "count": 3},
    },
    "univariate": {
        "tolerance": 1.0e-10,
        "max_iterations": 200,
        "laws": {
            "uniform": {"label": "uniform & more", "family": "uniform", "parameters": {"loc": -1.0, "scale": 2.0}},
            "normal": {"label": "normal", "family": "norm", "parameters": {}},
        },
    },
    "spread": {"laws": ["uniform"], "scales": {"smallest": 0.5, "largest": 2.0, "count": 3}},
    "learning": {
        "methods": ["affine", "cmfgen"],  # w2dual is dear: the smoke chain has it
        "seeds": [0, 1],
        "points": 100,
        "epsilon": 0.1,
        "w2dual": {"steps": 2, "batch": 16, "learning_rate": 5.0e-3, "widths": [4]},
        "planar": {"laws": ["circles"], "samples": 200, "training": TRAINING},
        "truth": [
            {"families": ["product"], "dimensions": [2], "samples": 200, "training": TRAINING},
            {"families": ["gaussian"], "dimensions": [2], "samples": 250, "training": TRAINING},
        ],
    },
    "density": {
        "methods": ["cmfma", "smc"],
        "points": 100,
        "epsilon_share": 0.01,
        "energies": [{"energies": ["four_modes"], "dimensions": [2], "seeds": [0, 1], "training": EXPLORED}],
    },
    "images": {
        "epsilon_share": 0.1,
        "sets": {
            "digits": {
                "samples": 100,
                "held_out": 50,
                "seeds": [0, 1],
                "models": ["affine", "monge_whole"],
                "training": {"whole": {**OF_IMAGES, "smoothing": 0.2, "quadratic": 0.9}},
                "quadratics": None,
            }
        },
        "inpainting": {
            "sets": ["digits"],
            "models": ["monge_whole"],
            "masks": ["half"],
            "images": 1,
            "chains": 4,
            "draws": 4,
            "leaps": 1,
            "particles": 4,
            "noise": 1.0,
        },
    },
    "figures": {"dpi": 50},
}
NAMES = ("gaussian", "univariate", "spread", "planar", "truth", "density", "images", "inpainting")
PICTURES = ("gaussian", "univariate", "convergence", "spread", "planar", "failures", "truth", "density")
PICTURES += tuple(f"{kind}-digits" for kind in ("images", "paths", "traces", "inpainting"))
TABLES = [f"tables/{name}.{form}" for name in (*NAMES, "claims") for form in ("csv", "md", "tex")]
FIGURES = [f"figures/{name}.{form}" for name in PICTURES for form in ("pdf", "png")]


@pytest.fixture
def checkout(tmp_path):
    for name in ("src", "workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    configure(tmp_path, CONFIG)
    return tmp_path


def configure(checkout, config):
    (checkout / "config" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def snakemake(checkout, *options):
    # The profile's own value is for long chains: it waits for so long at the end.
    quick = ["--max-jobs-per-timespan", "100/1s"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *quick, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=1800)


def to_run(checkout):
    """Rules that a dry run names."""
    run = snakemake(checkout, "--dry-run")
    assert run.returncode == 0, run.stderr
    text = run.stdout + run.stderr
    return set(re.findall(r"^(?:local)?rule (\w+):$", text, flags=re.MULTILINE)) - {"all"}


def to_write(checkout):
    """Outputs that a dry run names, one text for each job."""
    run = snakemake(checkout, "--dry-run")
    return re.findall(r"^    output: (.*)$", run.stdout + run.stderr, flags=re.MULTILINE)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_chain(checkout):
    run = snakemake(checkout)
    assert run.returncode == 0, run.stdout + run.stderr
    out = checkout / "out"
    assert {name for name in (*TABLES, *FIGURES) if not (out / name).stat().st_size} == set()
    assert r"uniform \& more" in (out / "tables/univariate.tex").read_text(encoding="utf-8")

    # Every result says where it came from; what snakemake itself writes beside them does not.
    ours = [path for path in contents(out) if path.parts[len(out.parts)] not in ("logs", "benchmarks")]
    assert len(ours) > 40
    assert [path for path in ours if b'"commit"' not in path.read_bytes().translate(None, b"\\\0")] == []

    assert to_run(checkout) == set()

    # The style: figures only. A solver: its fits and what follows from them. Undone, nothing.
    with edited(checkout, "figures/style.py"):
        rules = {f"plot_{name.partition('-')[0]}" for name in PICTURES}
        assert to_run(checkout) == rules - {"plot_failures", "plot_paths"}
    with edited(checkout, "fits/gaussian.py"):
        assert {"fit_gaussian", "score_gaussian", "tabulate_gaussian"} <= to_run(checkout)

    # One law of the configuration: that law only.
    law = {**CONFIG["univariate"]["laws"]["normal"], "parameters": {"scale": 2.0}}
    laws = {**CONFIG["univariate"]["laws"], "normal": law}
    configure(checkout, {**CONFIG, "univariate": {**CONFIG["univariate"], "laws": laws}})
    written = to_write(checkout)
    assert any("out/fits/univariate/normal" in output for output in written)
    assert not any("uniform" in output or "gaussian" in output or "spread" in output for output in written)

    # More samples of one entry: its draws, and its fits by every method, again; those of no other law.
    truth = [CONFIG["learning"]["truth"][0], {**CONFIG["learning"]["truth"][1], "samples": 260}]
    configure(checkout, {**CONFIG, "learning": {**CONFIG["learning"], "truth": truth}})
    again = {path for output in to_write(checkout) for path in output.split(", ") if "seed0" in path}
    fits = [f"out/fits/learned/gaussian_d2/{method}/seed0" for method in CONFIG["learning"]["methods"]]
    files = {"fit.npz", "trace.csv"}
    assert again == {"out/data/learned/gaussian_d2/seed0.npz", *(f"{fit}/{name}" for fit in fits for name in files)}

    # More points: scores, and no fit.
    configure(checkout, {**CONFIG, "learning": {**CONFIG["learning"], "points": 101}})
    assert {"floor_planar", "score_learned"} <= to_run(checkout)
    assert not {"draw_planar", "draw_truth", "fit_learned", "score_density"} & to_run(checkout)
    configure(checkout, {**CONFIG, "density": {**CONFIG["density"], "points": 101}})
    assert {"draw_density", "floor_density", "score_density"} <= to_run(checkout)
    assert not {"fit_density", "sample_density"} & to_run(checkout)

    # A configuration that is refused: one line, nothing started, nothing touched.
    before = contents(out)
    configure(checkout, {**CONFIG, "samples": "twenty"})
    run = snakemake(checkout)
    assert run.returncode != 0
    assert "config: samples: found 'twenty', allowed: an integer >= 100" in run.stderr
    assert "Traceback" not in run.stderr
    assert "rule " not in run.stdout + run.stderr
    assert contents(out) == before


@contextmanager
def edited(checkout, module):
    """Change a module's bytes, but not what it does, within a block."""
    path = checkout / "src" / "conjugate_moments" / module
    before = path.read_bytes()
    path.write_bytes(before + b"# edited\n")
    yield
    path.write_bytes(before)


def test_fit_that_diverges_stops_the_job_and_leaves_its_trace(checkout):
    # One step of Newton's method solves a quadratic, not maxima as steep as these: of their conjugates 1 % to 4 %.
    steep = {"widths": [16], "slope": 4.0, "smoothing": 0.01}
    training = {**TRAINING, **steep, "steps": 200, "conjugate_steps": 1, "tolerance": 1.0e-6}
    planar = {**CONFIG["learning"]["planar"], "training": training}
    configure(checkout, {**CONFIG, "learning": {**CONFIG["learning"], "planar": planar}})
    run = snakemake(checkout, "out/fits/learned/circles/cmfgen/seed0/fit.npz")
    assert run.returncode != 0
    logs = checkout / "out/logs/fit_learned/circles/cmfgen"
    text = (logs / "seed0.log").read_text(encoding="utf-8")
    assert re.search(r"DivergedError: cmfgen: found .* by step \d+, allowed: .*lower learning_rate", text)
    rows = (logs / "seed0.trace.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1].startswith("step,")
    assert 2 < len(rows) < 200
    assert not (checkout / "out/fits/learned/circles/cmfgen/seed0/trace.csv").exists()


def test_fit_that_does_not_converge_is_given_no_number(checkout):
    univariate = {**CONFIG["univariate"], "tolerance": 1.0e-13, "max_iterations": 1}
    configure(checkout, {**CONFIG, "univariate": univariate})
    run = snakemake(checkout, "out/metrics/univariate/uniform.csv")
    assert run.returncode == 0, run.stdout + run.stderr
    rows = (checkout / "out/metrics/univariate/uniform.csv").read_text(encoding="utf-8").splitlines()
    refused = [row.split(",") for row in rows if row.startswith("uniform,conjugate")]
    assert refused
    assert all(row[4:] == ["", "", "", "unconverged"] for row in refused)
