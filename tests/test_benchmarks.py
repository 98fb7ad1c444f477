"""The benchmarks run end to end at the smallest scale; what they measure is not judged here, how they count is."""

import ast
import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conjugate_moments.metrics.records import read_rows

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = ("conjugate", "scaling", "fit", "samplers")
COLUMNS = {
    "conjugate": {"law", "dim", "tolerance", "start", "method", "setting", "reached", "seconds", "ratio", "ratio_low"},
    "scaling": {"dim", "batch", "widths", "status", "seconds", "seconds_low", "seconds_high", "conjugate_steps"},
    "fit": {"method", "seed", "status", "limit", "uvp", "seconds", "seconds_with_compile", "ratio", "bound"},
    "samplers": {"dim", "chains", "ours", "blackjax", "ratio", "ratio_low", "ratio_high", "repeats"},
}
# In one process, because each would spend seconds on its imports.
DRIVER = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name).main(["--smoke", f"{sys.argv[1]}/{name}.csv"])
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    command = [sys.executable, "-W", "error", "-c", DRIVER, str(folder), *PROGRAMS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_writes_what_it_promises(name, written):
    rows = read_rows(written / f"{name}.csv")
    assert rows
    assert COLUMNS[name] <= set(rows[0])
    assert (written / f"{name}.csv").read_text(encoding="utf-8").startswith("# provenance: ")
    assert all(float(row["ours" if name == "samplers" else "seconds"]) > 0 for row in rows)


def test_a_method_that_failed_rows_has_no_ratio(written):
    rows = read_rows(written / "conjugate.csv")
    assert {row["method"] for row in rows} == {"newton", "ott_lbfgs", "adam"}
    assert {row["start"] for row in rows} == {"target", "persistent"}
    # The reference is the chosen solver, which converges here: Adam's 100 steps do not.
    assert all(float(row["ratio"]) == 1 for row in rows if row["chosen"] == "True")
    assert all((float(row["reached"]) == 1) == bool(row["ratio"]) for row in rows)
    assert any(float(row["reached"]) < 1 for row in rows)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("arguments", "said"), [((), "OUTPUT.csv"), (("out.txt",), "out.txt")])
def test_bad_arguments_get_one_line(name, arguments, said, program, capsys):
    with pytest.raises(SystemExit) as stopped:
        program(name).main(arguments)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert f"usage: {name}.py" in lines[0]


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "long"])
def test_limit_that_is_none_gets_one_line(limit, program, capsys):
    with pytest.raises(SystemExit) as stopped:
        program("fit").main([f"--limit={limit}", "out.csv"])
    assert stopped.value.code == 2
    assert f"found '{limit}', allowed: a number of seconds > 0; usage: fit.py" in capsys.readouterr().err


def test_no_program_takes_a_private_name_from_the_package():
    """What a benchmark needs is public, so that it measures what a user can run."""
    found = []
    for path in sorted(BENCHMARKS.glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conjugate_moments"):
                found += [f"{path.name}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                found += [f"{path.name}: {ast.unparse(node)}"] if ast.unparse(node.value) != "self" else []
    assert found == []


def test_exponents_of_a_power_law(program):
    scaling = program("scaling")
    cells = [
        scaling.Cell(dim, batch, "8", scaling.MEASURED, 3e-6 * dim**1.5 * batch**0.75, unconverged=0.0)
        for dim in (2, 8, 32)
        for batch in (16, 64)
    ]
    # A skipped cell has a prediction, one with capped conjugates the time of the cap: neither must be fitted.
    skipped = scaling.Cell(64, 64, "8", scaling.SKIPPED, 1.0)
    capped = scaling.Cell(64, 64, "8", scaling.MEASURED, 1.0, unconverged=0.1)
    found = scaling.exponents([*cells, skipped, capped], "all")
    assert [row.count for row in found] == [6, 6]
    np.testing.assert_allclose([row.value for row in found], [1.5, 0.75], rtol=1e-12)
    np.testing.assert_allclose([row.standard_error for row in found], 0, atol=1e-12)
    assert scaling.exponents(cells[:3], "all") == []


@pytest.mark.parametrize(("taken", "rounds"), [(0.1, 11), (8.0, 4), (60.0, 3)])
def test_rounds_end_with_the_time_but_never_before_the_fewest(program, monkeypatch, taken, rounds):
    program("conjugate")
    shared, clock = sys.modules["_shared"], [0.0]
    monkeypatch.setattr(shared.time, "perf_counter", lambda: clock[0])

    def call():
        clock[0] += taken

    times = shared.in_turn({"one": call}, 11)["one"]
    np.testing.assert_allclose(times, np.full(rounds, taken))


def test_a_peer_that_is_not_there_gives_a_lower_bound(program, monkeypatch):
    fit = program("fit")
    runs = {
        "cmfgen": fit.Run(fit.REACHED, 0.9, 0.9, 100, 2.0, 5.0),
        "slow": fit.Run(fit.NOT_REACHED, 3.0, 2.5, 900, 60.0, 80.0),
        "there": fit.Run(fit.REACHED, 0.8, 0.8, 50, 1.0, 10.0),
    }
    monkeypatch.setattr(fit, "problem", lambda *_: None)
    monkeypatch.setattr(fit.jax, "clear_caches", lambda: None)  # other tests need theirs
    monkeypatch.setattr(fit, "methods", lambda _: {name: lambda *_, run=run: run for name, run in runs.items()})
    rows = {row.method: row for row in fit.rows_of(0, fit.SMOKE, 60.0)}
    assert (rows["slow"].ratio, rows["slow"].ratio_with_compile, rows["slow"].bound) == (30.0, 16.0, "lower")
    assert (rows["there"].ratio, rows["there"].bound) == (0.5, "exact")
    runs["cmfgen"] = fit.Run(fit.NOT_REACHED, 3.0, 3.0, 900, 60.0, 80.0)
    assert all(np.isnan(row.ratio) and row.bound == "none" for row in fit.rows_of(0, fit.SMOKE, 60.0))


class Loop:
    """Stands for a training of this package."""

    steps, done, network = 10, 0, None

    def advance(self, steps):
        self.done += steps


@pytest.mark.parametrize(
    ("limit", "errors", "status", "steps"),
    [
        (1e-9, [3.0, 0.5], "not reached", 4),  # beyond any limit from the start: after one stretch, never dropped
        (1e9, [3.0, 0.5], "reached", 8),
        (1e9, [3.0, 2.0, 2.5], "ended", 10),
    ],
)
def test_loop_is_halted_at_the_goal_at_the_limit_or_at_its_end(limit, errors, status, steps, program):
    fit = program("fit")
    scores = iter(errors)
    scale = dataclasses.replace(fit.SMOKE, goal=1.0, every=4)
    run = fit._halted(Loop(), fit.Clock(), lambda _: next(scores), scale, limit)
    assert (run.status, run.steps) == (status, steps)
    assert (run.uvp, run.best) == {4: (3.0, 3.0), 8: (0.5, 0.5), 10: (2.5, 2.0)}[steps]


def test_peer_that_is_halted_says_so_with_its_error_at_the_end(program, monkeypatch, capsys):
    fit = program("fit")
    scale = dataclasses.replace(fit.SMOKE, goal=0.0, every_peer=1000)
    run = fit.run_peer(fit.problem(0, scale), 0, scale, 1e-9, peer=scale.peers["w2dual"])
    assert (run.status, run.steps) == (fit.NOT_REACHED, 1)  # within its own loop, before any checkpoint
    assert 0 < run.uvp < np.inf
    monkeypatch.setattr(fit, "problem", lambda *_: None)
    monkeypatch.setattr(fit.jax, "clear_caches", lambda: None)
    monkeypatch.setattr(fit, "methods", lambda _: {"cmfgen": lambda *_: run, "w2dual": lambda *_: run})
    fit.report(fit.rows_of(0, scale, 9.0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(f"0 % not reached within 9 s (UVP at the end {run.uvp:.3g} %): 1 steps" in line for line in lines)


def test_spread_gives_quartiles(program):
    found = program("_shared").spread(np.asarray([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
