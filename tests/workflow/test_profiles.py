"""Profiles of Snakemake: what they may say, and what the rules ask a cluster for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FIT = "results/smoke/fits/images/digits/cmfgen_patches/seed0/fit.npz"
TABLE = "results/smoke/tables/gaussian.csv"


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*/config.yaml")), ids=lambda path: path.parent.name)
def test_profile_has_options_of_snakemake_only(path):
    from snakemake.cli import get_argument_parser

    known = {name.lstrip("-") for action in get_argument_parser()._actions for name in action.option_strings}
    options = yaml.safe_load(path.read_text("utf-8"))
    assert options.keys() <= known


@pytest.mark.parametrize(("platforms", "gpus"), [("cpu", 0), ("cuda", 1)])
def test_dry_run_on_slurm_asks_for_what_each_job_needs(tmp_path, platforms, gpus):
    """Without any Slurm: it is asked only when a job is submitted."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    # In a folder without results, so that every job is to be run.
    shutil.copytree(ROOT / "config", tmp_path / "config")
    options = ["--snakefile", ROOT / "Snakefile", "--directory", tmp_path, "--profile", ROOT / "profiles/slurm"]
    options += ["--configfile", "config/smoke.yaml"]
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", FIT, TABLE, "--dry-run", *options],
        env={**environment, "JAX_PLATFORMS": platforms},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    asked = dict(re.findall(r"^rule (\w+):$.*?^    resources: (.*?)$", said, flags=re.DOTALL | re.MULTILINE))
    assert {"draw_images", "fit_images", "draw_gaussian", "tabulate_gaussian"} <= asked.keys()
    for resources in asked.values():
        found = dict(item.split("=", 1) for item in resources.split(", "))
        assert int(found["mem_mb"]) >= 500
        assert int(found["runtime"]) > 0
    assert f"gpu={gpus}," in asked["fit_images"]
    assert "gpu=" not in asked["draw_images"]
    # Jobs of a cluster are given no more than the file's name: merged with the default one, it would have its laws too.
    assert "metrics/gaussian/five.csv" in said
    assert "elongated" not in said
