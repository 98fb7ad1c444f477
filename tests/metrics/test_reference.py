"""Recorded tables: what counts as a difference."""

from pathlib import Path

import pytest

from conjugate_moments.metrics.reference import differences, main

HEADER = "law,factorization,status,law_std,w2,w2_standard_error,w2_noise_floor,iterations\n"
ROW = "uniform,conjugate,converged,0.5,0.01,0.001,0.01,12\n"


@pytest.fixture
def compare(tmp_path):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "table.csv").write_text(f"# provenance\n{HEADER}{ROW}", encoding="utf-8")

    def run(rows):
        (tmp_path / "table.csv").write_text(f"# other provenance\n{HEADER}{rows}", encoding="utf-8")
        return differences(tmp_path / "table.csv", tmp_path / "reference" / "table.csv")

    return run


@pytest.mark.parametrize(
    "row",
    [ROW, ROW.replace("0.5", "0.5000001"), ROW.replace("0.01,0.001", "0.015,0.001"), ROW.replace(",12", ",13")],
)
def test_rounding_noise_and_effort_are_no_differences(compare, row):
    assert compare(row) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW.replace("0.5", "0.50001"), "law_std 0.50001, recorded 0.5"),
        (ROW.replace("0.01,0.001", "0.016,0.001"), "w2 0.016, recorded 0.01, allowed difference 0.0057"),
        (ROW.replace("0.01,0.001", ",,"), "w2 nan"),
        (ROW.replace("converged", "unconverged"), "status unconverged, recorded converged"),
        (ROW.replace("uniform", "normal"), "normal conjugate: only in the new table"),
        ("", "uniform conjugate: only in the recorded table"),
    ],
)
def test_differences_are_named(compare, row, message):
    assert any(message in line for line in compare(row))


def test_missing_table_is_a_difference(compare, tmp_path, capsys):
    assert main(str(tmp_path / "nowhere"), str(tmp_path / "reference")) == 1
    assert "no table" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "results/reference").glob("*.csv")), ids=lambda path: path.stem
)
def test_recorded_tables_can_be_compared(path):
    assert differences(path, path) == []
