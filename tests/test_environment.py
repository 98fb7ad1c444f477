"""The environment is written down in several places: pyproject, the *.in files, the locks and environment.yml agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import conjugate_moments

ROOT = Path(__file__).parents[1]
LOCKS = ("cpu", "cuda12", "dev")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))


def by_name(lines: list[str]) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def read_in(name: str) -> dict[str, Requirement]:
    """The requirements that `name`.in states itself, without those of the files it includes."""
    lines = [
        line.partition(" #")[0].strip()
        for line in (ROOT / "requirements" / f"{name}.in").read_text("utf-8").split("\n")
    ]
    return by_name([line for line in lines if line and not line.startswith(("#", "-"))])


def read_lock(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Each pin of a lock with its hashes; a line that is neither is an error."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8").replace("\\\n", " ")
    pins = {}
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        pin, *hashes = re.split(r"\s+--hash=", line)
        requirement = Requirement(pin)
        key = canonicalize_name(requirement.name)
        assert key not in pins, f"{name}.lock pins {key} twice"
        pins[key] = (requirement, hashes)
    return pins


def pinned_version(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not a pin"
    return Version(specifier.version)


def test_pyproject_and_base_in_state_the_same_requirements():
    stated = by_name(PYPROJECT["project"]["dependencies"] + PYPROJECT["build-system"]["requires"])
    assert {name: str(r.specifier) for name, r in stated.items()} == {
        name: str(r.specifier) for name, r in read_in("base").items()
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_lock_is_made_from_base_in(lock):
    lines = (ROOT / "requirements" / f"{lock}.in").read_text("utf-8").splitlines()
    assert "-r base.in" in lines
    assert lock == "cpu" or "-c cpu.lock" in lines


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_every_requirement(lock):
    pins = read_lock(lock)
    for name, requirement in (read_in("base") | read_in(lock)).items():
        assert name in pins, f"{lock}.lock lacks {name}"
        assert pinned_version(pins[name][0]) in requirement.specifier, (
            f"{lock}.lock: {pins[name][0]} is not {requirement}"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_sha256_hashes(lock):
    for requirement, hashes in read_lock(lock).values():
        assert hashes, f"{lock}.lock: {requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address(lock):
    text = (ROOT / "requirements" / f"{lock}.lock").read_text("utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host|file:| @ ", text)


def test_locks_agree_on_every_shared_version():
    cpu, cuda, dev = (
        {name: pinned_version(requirement) for name, (requirement, _) in read_lock(lock).items()} for lock in LOCKS
    )
    assert cpu.items() <= dev.items(), "dev.lock stands in for cpu.lock, and must hold all of it"
    assert cpu.items() <= cuda.items()
    assert {name: cuda[name] for name in cuda.keys() & dev.keys()} == {
        name: dev[name] for name in cuda.keys() & dev.keys()
    }


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == conjugate_moments.__version__


def test_conda_python_satisfies_requires_python():
    (python,) = [
        entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str) and entry.startswith("python=")
    ]
    version = Version(python.removeprefix("python="))
    assert version in SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_conda_takes_its_packages_from_the_cpu_lock():
    assert "pip" in ENVIRONMENT["dependencies"]
    (section,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    assert section == ["-r requirements/cpu.lock"]
