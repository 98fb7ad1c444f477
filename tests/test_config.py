"""The configuration: shipped files, one line for every fault, and no drift between schema, records and README."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conjugate_moments import config as records
from conjugate_moments.config import Config, ConfigError, Scales, fingerprint, load, read_samples, validate
from conjugate_moments.config.density import ONLY, SAMPLERS
from conjugate_moments.config.images import AVAILABLE, BASELINES, SIDES, Inpainting
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.settings import METHODS, DensitySettings, ImageSettings, PeerSettings, TrainingSettings

ROOT = Path(__file__).parents[1]
FILES = {name: ROOT / "config" / f"{name}.yaml" for name in ("config", "smoke", "paper")}
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
SMOKE = yaml.safe_load(FILES["smoke"].read_text(encoding="utf-8"))
LAWS = "univariate.laws"
TRUTH = "learning.truth"
TRAINING = SMOKE["learning"]["planar"]["training"]
ENERGIES = "density.energies"
DENSITY = SMOKE["density"]["energies"][0]["training"]
DIGITS = "images.sets.digits"
PATCHES = SMOKE["images"]["sets"]["digits"]["training"]["patches"]
DELETE = object()


def refusal(config: object, root: Path = ROOT) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(config, schema=SCHEMA, root=root)
    return str(caught.value)


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The smoke configuration with the values at dotted paths replaced, added or deleted."""
    config = copy.deepcopy(SMOKE)
    for path, value in changes:
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
        node: Any = config
        for key in parents:
            node = node[key]
        if value is DELETE:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return config


def law(family: str, **rest: Any) -> tuple[str, dict[str, Any]]:
    return f"{LAWS}.foo", {"label": "foo", "family": family, **rest}


def truths(family: str, *dimensions: float, samples: int = 1000) -> dict[str, Any]:
    return {"families": [family], "dimensions": list(dimensions), "samples": samples, "training": TRAINING}


def energies(name: str, *dimensions: int) -> dict[str, Any]:
    return {"energies": [name], "dimensions": list(dimensions), "seeds": [0, 1], "training": DENSITY}


def scipy_law(family: str, **parameters: Any) -> tuple[str, dict[str, Any]]:
    return law(family, parameters=parameters)


# Shipped files


@pytest.mark.parametrize("name", FILES)
def test_shipped_files_validate(name):
    config = load(FILES[name], schema=SCHEMA, root=ROOT)
    assert config.output == {"config": "results", "smoke": "results/smoke", "paper": "results/paper"}[name]
    assert pickle.loads(pickle.dumps(config)) == config


def test_nine_laid_over_the_default_changes_only_the_planar_study():
    from snakemake.utils import update_config

    default = yaml.safe_load(FILES["config"].read_text(encoding="utf-8"))
    merged = copy.deepcopy(default)
    update_config(merged, yaml.safe_load((ROOT / "config/nine.yaml").read_text(encoding="utf-8")))
    config = validate(merged, schema=SCHEMA, root=ROOT)
    assert set(config.learning.planar.laws) == set(PLANAR)
    assert config.learning.planar.training == validate(default, schema=SCHEMA, root=ROOT).learning.planar.training
    assert config.output == "results/nine"
    assert {key for key in default if merged[key] != default[key]} == {"output", "learning"}
    assert merged["learning"]["truth"] == default["learning"]["truth"]


def test_glyphs_laid_over_the_default_change_only_themselves():
    from snakemake.utils import update_config

    default = yaml.safe_load(FILES["config"].read_text(encoding="utf-8"))
    merged = copy.deepcopy(default)
    update_config(merged, yaml.safe_load((ROOT / "config/glyphs.yaml").read_text(encoding="utf-8")))
    entry = validate(merged, schema=SCHEMA, root=ROOT).images.sets["glyphs"]
    before = validate(default, schema=SCHEMA, root=ROOT).images.sets["glyphs"]
    assert entry.quadratics.steps > before.quadratics.steps
    assert {key for key in default if merged[key] != default[key]} == {"output", "images"}
    for key in ("epsilon_share", "inpainting"):
        assert merged["images"][key] == default["images"][key]
    changed = {name for name, value in merged["images"]["sets"].items() if value != default["images"]["sets"][name]}
    assert changed == {"glyphs"}


def test_schema_is_a_valid_schema():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(SCHEMA)


def test_shipped_files_share_keys_and_laws():
    everything = {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
    for section in ("gaussian", "univariate"):
        full = everything["config"][section]["laws"]
        assert everything["paper"][section]["laws"] == full
        assert everything["smoke"][section]["laws"].items() <= full.items()


def test_records_mirror_the_file():
    config = validate(SMOKE, schema=SCHEMA, root=ROOT)
    assert config.seeds == tuple(SMOKE["seeds"])
    assert config.gaussian.laws["five"].mean == tuple(SMOKE["gaussian"]["laws"]["five"]["mean"])
    assert config.univariate.laws["quartic"] == records.PowerEntry("quartic", "power", 4.0)
    mixture = config.univariate.laws["bimodal"]
    assert isinstance(mixture, records.MixtureEntry)
    assert mixture.components[0] == records.Component("norm", {"loc": -3.0, "scale": 0.5})
    assert config.learning.w2dual == PeerSettings.from_dict(SMOKE["learning"]["w2dual"])
    training = TrainingSettings.from_dict(TRAINING)
    assert config.learning.planar == records.Planar(tuple(SMOKE["learning"]["planar"]["laws"]), 2000, training)
    assert config.learning.truth == (records.Truth(("product",), (2,), 2000, training),)
    settings = DensitySettings.from_dict(DENSITY)
    assert config.density.energies == (records.Energies(("banana", "four_modes"), (2,), (0, 1), settings),)
    entry = config.images.sets["digits"]
    assert entry.training["patches"] == ImageSettings.from_dict(PATCHES)
    assert entry.training["whole"].patch is None
    assert config.images.inpainting == Inpainting(
        ("digits",), ("cmfgen_patches", "cmfgen_quadratics"), ("half", "centre"), 2, 4, 4, 2, 8, 3.0
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.samples = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_numbers_become_those_of_the_record():
    config = validate(changed(("samples", 2000.0), ("gaussian.scales.largest", 10)), schema=SCHEMA, root=ROOT)
    assert type(config.samples) is int
    assert type(config.gaussian.scales.largest) is float


def test_samples_may_be_just_enough_for_the_largest_dimension_of_their_own_entry():
    entries = [truths("product", 256, 4, samples=2560), truths("gaussian", 2, samples=100)]
    config = validate(changed((TRUTH, entries), ("learning.planar.samples", 100)), schema=SCHEMA, root=ROOT)
    assert [entry.dimensions for entry in config.learning.truth] == [(256, 4), (2,)]
    assert [entry.samples for entry in config.learning.truth] == [2560, 100]


def test_family_may_be_learned_in_dimensions_of_its_own():
    entries = [truths("product", 2, 4), truths("gaussian", 4), truths("product", 8)]
    config = validate(changed((TRUTH, entries)), schema=SCHEMA, root=ROOT)
    assert [entry.families for entry in config.learning.truth] == [("product",), ("gaussian",), ("product",)]


@pytest.mark.parametrize("end", ["minimum", "maximum"])
@pytest.mark.parametrize(("kind", "place"), [("training", "learning.planar"), ("density_training", f"{ENERGIES}.0")])
def test_training_takes_both_ends_of_every_range(kind, place, end):
    rules = SCHEMA["$defs"][kind]["properties"]
    numbers = {key: rule[end] for key, rule in rules.items() if key != "widths"}
    widths = [rules["widths"]["items"][end]] * rules["widths"][{"minimum": "minItems", "maximum": "maxItems"}[end]]
    training = {**numbers, "widths": widths}
    config = validate(changed((f"{place}.training", training)), schema=SCHEMA, root=ROOT)
    found = config.learning.planar if kind == "training" else config.density.energies[0]
    assert found.training.to_dict() == training


@pytest.mark.parametrize("end", ["minimum", "maximum"])
@pytest.mark.parametrize("patch", [8, None])
def test_training_of_images_takes_both_ends_of_every_range(patch, end):
    """Patches, which have to cover 8 x 8 pixels with two layers above, apart."""
    rules = SCHEMA["$defs"]["image_training"]["properties"]
    layers = 1 if patch is None else 2
    training = {key: rule[end] for key, rule in rules.items() if key != "widths"}
    training |= {"widths": [rules["widths"]["items"][end]] * layers, "patch": patch}
    training |= {} if patch is None else {"stride": 8}
    network = "whole" if patch is None else "patches"
    config = validate(changed((f"{DIGITS}.training.{network}", training)), schema=SCHEMA, root=ROOT)
    assert config.images.sets["digits"].training[network].to_dict() == training


@pytest.mark.parametrize(
    ("family", "parameters"),
    [("t", {"df": 2.01}), ("lognorm", {"s": 5.0}), ("lomax", {"c": 2.1}), ("levy_stable", {"alpha": 2.0, "beta": 0.0})],
)
def test_heavy_tails_of_finite_variance_are_allowed(family, parameters):
    config = validate(changed(scipy_law(family, **parameters)), schema=SCHEMA, root=ROOT)
    assert config.univariate.laws["foo"] == records.ScipyEntry("foo", family, parameters)


def test_schema_may_be_a_path():
    path = ROOT / "workflow/schemas/config.schema.yaml"
    assert validate(SMOKE, schema=path, root=ROOT) == validate(SMOKE, schema=SCHEMA, root=ROOT)


def test_scales_are_even_in_the_logarithm():
    np.testing.assert_allclose(Scales(0.1, 10.0, 3).values(), [0.1, 1, 10], rtol=1e-14)


# No drift


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    return {**SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], **node}


def every_property(node: Any, path: str = ""):
    """Every (path, unresolved field, containing object) of the schema, $defs included."""
    if isinstance(node, dict):
        for kind in ("properties", "patternProperties"):
            for name, field in node.get(kind, {}).items():
                if "if" not in path.split("/"):
                    yield f"{path}/{name}", field, node
        for key, value in node.items():
            yield from every_property(value, f"{path}/{key}")
    elif isinstance(node, list):
        for value in node:
            yield from every_property(value, path)


def test_every_field_is_described_required_and_closed():
    fields = list(every_property(SCHEMA))
    assert len(fields) > 30
    for path, field, node in fields:
        assert field.get("description"), path
        if path == "/$defs/law/family":  # the branches that this key chooses among are closed
            continue
        assert node["additionalProperties"] is False, path
        if "properties" in node:
            assert set(node["required"]) == set(node["properties"]), path


def test_ranges_are_in_the_descriptions():
    for path, field, _ in every_property(SCHEMA):
        for key in ("minimum", "maximum", "maxItems"):
            if key in field:
                numbers = {float(word.strip(",;.()")) for word in field["description"].split() if is_number(word)}
                assert field[key] in numbers, f"{path}: {key}"


def is_number(word: str) -> bool:
    try:
        float(word.strip(",;.()"))
    except ValueError:
        return False
    return True


def compare(kind: Any, node: dict[str, Any], path: str) -> None:
    node = resolve(node)
    if type(None) in get_args(kind) and "properties" in node:  # a mapping, or null
        assert node["type"] == ["object", "null"], path
        kind = get_args(kind)[0]
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        assert list(hints) == list(node["properties"]), path
        for name, hint in hints.items():
            compare(hint, node["properties"][name], f"{path}.{name}")
    elif node.get("items"):
        compare(get_args(kind)[0], node["items"], f"{path}[]")
    elif node.get("patternProperties"):
        (inner,) = node["patternProperties"].values()
        compare(get_args(kind)[1], inner, f"{path}.*")
    elif kind != records.UnivariateEntry:
        names = {"integer": {int}, "number": {float}, "string": {str, Path}}
        if isinstance(node.get("type"), list):  # that, or null
            (named,) = {*node["type"]} - {"null"}
            assert kind in {inner | None for inner in names[named]}, path
            return
        assert kind in names["string" if "const" in node else node["type"]], path


def test_records_do_not_drift_from_the_schema():
    compare(Config, SCHEMA, "")
    own = {f"{name}_law": entry for name, entry in records.OWN_FAMILIES.items()}
    for name, entry in {**own, "scipy_law": records.ScipyEntry}.items():
        compare(entry, SCHEMA["$defs"][name], name)
    assert {*records.OWN_FAMILIES.values(), records.ScipyEntry} == set(get_args(records.UnivariateEntry))


def test_methods_are_those_that_are_trained_and_the_affine_one():
    methods = SCHEMA["properties"]["learning"]["properties"]["methods"]["items"]["enum"]
    assert methods == ["affine", *METHODS, "w2dual"]


def test_methods_of_densities_are_those_that_exist():
    from conjugate_moments.fits.saved import KINDS

    methods = SCHEMA["properties"]["density"]["properties"]["methods"]["items"]["enum"]
    assert tuple(methods[3:]) == SAMPLERS
    assert set(methods[:3]) <= KINDS.keys()


def test_energies_and_their_dimensions_are_those_that_exist():
    from conjugate_moments.measures.energies import ENERGIES as KNOWN

    rules = SCHEMA["$defs"]["energies"]["properties"]
    assert rules["energies"]["items"]["enum"] == list(KNOWN)
    assert {name: family.smallest for name, family in KNOWN.items() if family.smallest == family.largest} == ONLY
    smallest, largest = (rules["dimensions"]["items"][end] for end in ("minimum", "maximum"))
    others = [family for name, family in KNOWN.items() if name not in ONLY]
    assert all(family.smallest <= smallest and largest <= family.largest for family in others)


def test_image_sets_are_those_that_exist_and_are_as_large_as_said():
    from conjugate_moments.measures.images import CARTOON_SIDE, IMAGES, image_set

    (pattern,) = SCHEMA["properties"]["images"]["properties"]["sets"]["patternProperties"]
    assert set(pattern.strip("^$()").split("|")) == set(SIDES) == set(IMAGES)
    for name in ("digits", "glyphs", "avatars"):
        assert image_set(name, samples=1, held_out=1, seed=0).shape == SIDES[name]
    assert SIDES["cartoon"] == (CARTOON_SIDE, CARTOON_SIDE, 3)
    everything = AVAILABLE["digits"]
    assert len(image_set("digits", samples=everything - 1, held_out=1, seed=0).train) == everything - 1
    with pytest.raises(ValueError, match=f"at most {everything}, all there are of digits"):
        image_set("digits", samples=everything, held_out=1, seed=0)


def test_models_and_masks_of_images_are_those_that_exist():
    from conjugate_moments.fits.images import METHODS as FITTED
    from conjugate_moments.measures.masks import masks
    from conjugate_moments.metrics.tables import LEARNED

    (names,) = SCHEMA["$defs"]["image_set"]["properties"]["training"]["patternProperties"]
    networks = [*names.strip("^$()").split("|"), "quadratics"]
    models = SCHEMA["$defs"]["image_set"]["properties"]["models"]["items"]["enum"]
    assert models == ["affine", *(f"{method}_{network}" for method in FITTED for network in networks)]
    rules = SCHEMA["properties"]["images"]["properties"]["inpainting"]["properties"]
    assert rules["models"]["items"]["enum"] == models[1:]
    assert rules["masks"]["items"]["enum"] == list(masks((8, 8, 1)))
    assert {*models, *BASELINES} <= set(LEARNED)


def test_readme_names_every_key():
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    quoted = {key for span in text.split("`")[1::2] for key in span.split(".")}
    for path, _, node in every_property(SCHEMA):
        key = path.rpartition("/")[2]
        assert "patternProperties" in node or key in quoted, path


# Faults, each one line


FAULTS = {
    "not a mapping": ([1, 2], "(the whole file): found [1, 2], allowed: a mapping with the keys output, seeds"),
    "empty file": (None, "(the whole file): found None, allowed: a mapping"),
    "unknown key": (
        changed(("univariate.toleranse", 1)),
        "univariate.toleranse: found the unknown key 'toleranse', allowed: tolerance, max_iterations, laws; "
        "did you mean tolerance?",
    ),
    "renamed key": (
        changed(("figures.dpis", 80), ("figures.dpi", DELETE)),
        "figures.dpis: found the unknown key 'dpis', allowed: dpi; did you mean dpi?",
    ),
    "missing key": (
        changed(("univariate.tolerance", DELETE)),
        "univariate.tolerance: found nothing, allowed: a number >= 1e-13 and <= 0.001",
    ),
    "missing section": (changed(("spread", DELETE)), "spread: found nothing, allowed: a mapping with the keys laws, "),
    "key that is no text": (changed(("gaussian.laws", {3: {}})), "gaussian.laws[3]: found the key 3, allowed: keys of"),
    "bad name of a law": (
        changed((f"{LAWS}.Foo", SMOKE["univariate"]["laws"]["quartic"])),
        "univariate.laws.Foo: found the key 'Foo', allowed: a non-empty mapping of names (lower-case letters, digits",
    ),
    "no laws": (changed((LAWS, {})), "univariate.laws: found {}, allowed: a non-empty mapping of names"),
    "boolean": (changed(("samples", True)), "samples: found True, allowed: an integer >= 100 and <= 10000000"),
    "NaN": (changed(("univariate.tolerance", float("nan"))), "univariate.tolerance: found nan, allowed: a number"),
    "infinity": (
        changed(("gaussian.scales.largest", float("inf"))),
        "gaussian.scales.largest: found inf, allowed: a number",
    ),
    "text for a number": (
        changed(("univariate.tolerance", "1e-3")),
        "univariate.tolerance: found '1e-3', allowed: a number >= 1e-13 and <= 0.001; write 1.0e-3",
    ),
    "text for a large number": (
        changed(law("power", exponent="2.5e3")),
        "foo.exponent: found '2.5e3', allowed: a number > 1; write 2.5e+3",
    ),
    "text for an integer": (
        changed(("samples", "2e4")),
        "samples: found '2e4', allowed: an integer >= 100 and <= 10000000; write 20000",
    ),
    "quoted number": (changed(("univariate.tolerance", "0.001")), "<= 0.001; write 0.001 without quotes"),
    "fraction for an integer": (changed(("figures.dpi", 99.5)), "figures.dpi: found 99.5, allowed: an integer >= 50 "),
    "huge integer": (
        changed(("samples", 10**5000)),
        "samples: found a value of type int too large to show, allowed: a",
    ),
    "one seed": (
        changed(("seeds", [1])),
        "seeds: found [1], allowed: a list of 2 to 100 different values, each an integer >= 0 and <= 4294967295",
    ),
    "seed twice": (changed(("seeds", [1, 1])), "seeds: found [1, 1], allowed: a list of 2 to 100 different values"),
    "negative seed": (changed(("seeds", [0, -1])), "seeds[1]: found -1, allowed: an integer >= 0 and <= 4294967295"),
    "long value": (changed(("samples", "x" * 999)), "samples: found '" + "x" * 56 + "..., allowed: an integer"),
    "output outside": (changed(("output", "../elsewhere")), "output: found '../elsewhere', allowed: a relative folder"),
    "output absolute": (changed(("output", "/data")), "output: found '/data', allowed: a relative folder"),
    "label of two lines": (
        changed((f"{LAWS}.uniform.label", "a\nb")),
        "uniform.label: found 'a\\nb', allowed: printab",
    ),
    "label with a dollar": (changed((f"{LAWS}.uniform.label", "$x$")), "uniform.label: found '$x$', allowed: plain te"),
    "blank label": (changed((f"{LAWS}.uniform.label", " ")), "uniform.label: found ' ', allowed: plain text"),
    "no family": (
        changed((f"{LAWS}.foo", {"label": "foo"})),
        "foo.family: found nothing, allowed: the name of a contin",
    ),
    "law that is text": (
        changed((f"{LAWS}.foo", "norm")),
        "foo: found 'norm', allowed: a mapping with the keys label, family and those of its family",
    ),
    "unknown family": (
        changed(scipy_law("normal")),
        "univariate.laws.foo.family: found 'normal', allowed: the name of a continuous family of scipy.stats, or "
        "mixture, power, samples; did you mean norm?",
    ),
    "misspelt mixture": (
        changed(law("mixtur", weights=[1], components=[])),
        "foo.family: found 'mixtur', allowed: the name of a continuous family of scipy.stats, or mixture, power, "
        "samples; did you mean mixture?",
    ),
    "discrete family": (
        changed(scipy_law("poisson", mu=3)),
        "foo.family: found 'poisson' (a discrete family), allowed",
    ),
    "nested mixture": (
        changed((f"{LAWS}.bimodal.components.1.family", "mixture")),
        "univariate.laws.bimodal.components[1].family: found 'mixture', allowed: the name of a continuous family of",
    ),
    "missing shape": (
        changed(scipy_law("gamma")),
        "foo.parameters.a: found nothing, allowed: a number, a shape of scipy.stats.gamma",
    ),
    "unknown parameter": (
        changed(scipy_law("norm", scales=2.0)),
        "foo.parameters.scales: found the unknown key 'scales', allowed: loc, scale; did you mean scale?",
    ),
    "scale of zero": (changed(scipy_law("norm", scale=0)), "foo.parameters.scale: found 0.0, allowed: a number > 0"),
    "shape outside its range": (
        changed(scipy_law("gamma", a=-1.0)),
        "foo.parameters: found {'a': -1.0}, allowed: numbers that scipy.stats.gamma accepts",
    ),
    "infinite variance": (
        changed(scipy_law("t", df=2.0)),
        "foo.parameters: found {'df': 2.0} (infinite variance), allowed: a law of finite variance",
    ),
    "infinite variance, far away": (changed(scipy_law("t", df=1.9, loc=1e9)), "(infinite variance), allowed: a law"),
    "no mean": (
        changed(scipy_law("cauchy")),
        "foo.parameters: found {} (infinite variance), allowed: a law of finite variance",
    ),
    "component of infinite variance": (
        changed((f"{LAWS}.bimodal.components.1", {"family": "pareto", "parameters": {"b": 1.5}})),
        "bimodal.components[1].parameters: found {'b': 1.5} (infinite variance), allowed: a law of finite variance",
    ),
    "label twice": (
        changed((f"{LAWS}.foo", {"label": "uniform", "family": "norm", "parameters": {}})),
        "univariate.laws.foo.label: found 'uniform', allowed: a label other than that of uniform",
    ),
    "infinite exponent": (
        changed(law("power", exponent=float("inf"))),
        "foo.exponent: found inf, allowed: a number > 1, finite",
    ),
    "exponent": (
        changed(law("power", exponent=0.5)),
        "univariate.laws.foo.exponent: found 0.5, allowed: a number > 1",
    ),
    "key of another family": (
        changed(law("power", exponent=3, weights=[1])),
        "foo.weights: found the unknown key 'weights', allowed: label, family, exponent",
    ),
    "weights do not sum to one": (
        changed((f"{LAWS}.bimodal.weights", [0.5, 0.4])),
        "bimodal.weights: found [0.5, 0.4] with sum 0.9, allowed: numbers that sum to 1 within 1e-12",
    ),
    "too many weights": (
        changed((f"{LAWS}.bimodal.weights", [0.5, 0.25, 0.25])),
        "bimodal.weights: found 3 weights, allowed: 2, one per component",
    ),
    "missing file": (
        changed(law("samples", file="nowhere.csv")),
        "foo.file: found 'nowhere.csv' (no such file or directory), allowed: a file that can be read",
    ),
    "kind of file": (
        changed(law("samples", file="a.xls")),
        "foo.file: found 'a.xls', allowed: the path of a .npy, .txt",
    ),
    "covariance of another size": (
        changed(("gaussian.laws.correlated.covariance", [[1.0]])),
        "gaussian.laws.correlated.covariance: found 1 rows of 1 numbers, allowed: 2 rows of 2 numbers, as the mean",
    ),
    "ragged covariance": (
        changed(("gaussian.laws.correlated.covariance", [[1.0, 0.0], [0.0]])),
        "correlated.covariance: found 2 rows of 1 or 2 numbers, allowed: 2 rows of 2 numbers, as the mean has 2",
    ),
    "covariance not symmetric": (
        changed(("gaussian.laws.correlated.covariance", [[1.0, 0.2], [0.3, 1.0]])),
        "correlated.covariance[0][1]: found 0.2, allowed: 0.3, as the matrix is symmetric",
    ),
    "covariance not positive definite": (
        changed(("gaussian.laws.correlated.covariance", [[1.0, 2.0], [2.0, 1.0]])),
        "correlated.covariance: found the eigenvalue -1, allowed: a positive definite matrix",
    ),
    "singular covariance": (
        changed(("gaussian.laws.correlated.covariance", [[1.0, 1.0], [1.0, 1.0]])),
        "correlated.covariance: found the eigenvalue",
    ),
    "spread names no law": (
        changed(("spread.laws", ["uniform", "unimodal"])),
        "spread.laws[1]: found 'unimodal', allowed: a name in univariate.laws (uniform, bimodal, quartic); "
        "did you mean bimodal?",
    ),
    "unknown planar law": (
        changed(("learning.planar.laws", ["circles", "spirals"])),
        "learning.planar.laws[1]: found 'spirals', allowed: one of circles, moons, s_curve, swiss_roll, checkerboard, "
        "diagonal_checkerboard, eight_gaussians, pinwheel, two_spirals; did you mean two_spirals?",
    ),
    "no planar law": (
        changed(("learning.planar.laws", [])),
        "learning.planar.laws: found [], allowed: a list of 1 or more different values, each one of circles, moons, ",
    ),
    "unknown method": (
        changed(("learning.methods.1", "cmfmen")),
        "learning.methods[1]: found 'cmfmen', allowed: one of affine, cmfgen, monge, moment, w2dual; did "
        "you mean cmfgen?",
    ),
    "method twice": (
        changed(("learning.methods", ["monge", "monge"])),
        "learning.methods: found ['monge', 'monge'], allowed: a list of 1 or more different values, each one of affine",
    ),
    "unknown family of potentials": (
        changed((f"{TRUTH}.0.families", ["products"])),
        "learning.truth[0].families[0]: found 'products', allowed: one of product, gaussian, log_sum_exp, curved, "
        "multimodal; did you mean product?",
    ),
    "one seed of the fits": (
        changed(("learning.seeds", [1])),
        "learning.seeds: found [1], allowed: a list of 2 to 100 different values, each an integer >= 0 and <= 42949672",
    ),
    "too many points": (
        changed(("learning.points", 3001)),
        "learning.points: found 3001, allowed: an integer >= 100 and <= 3000",
    ),
    "no truth": (
        changed((TRUTH, [])),
        "learning.truth: found [], allowed: a list of 1 or more mappings with the keys families, dimensions, samples, "
        "training",
    ),
    "no dimension": (
        changed((f"{TRUTH}.0.dimensions", [])),
        "learning.truth[0].dimensions: found [], allowed: a list of 1 or more different values, each an even integer",
    ),
    "odd dimension": (
        changed((f"{TRUTH}.0.dimensions", [2, 3])),
        "learning.truth[0].dimensions[1]: found 3, allowed: an even integer >= 2 and <= 256",
    ),
    "dimension too large": (
        changed((f"{TRUTH}.0.dimensions.0", 258)),
        "learning.truth[0].dimensions[0]: found 258, allowed: an even integer >= 2 and <= 256",
    ),
    "dimension twice": (
        changed((f"{TRUTH}.0.dimensions", [4, 2, 4.0])),
        "learning.truth[0].dimensions: found [4, 2, 4.0], allowed: a list of 1 or more different values",
    ),
    "law of known potential twice": (
        changed((TRUTH, [truths("product", 2, 4), truths("gaussian", 2), truths("product", 8, 4.0)])),
        "learning.truth[2]: found product in dimension 4, allowed: a family and dimension that no entry before has",
    ),
    "only moment": (
        changed(("learning.methods", ["moment"])),
        "learning.methods: found moment alone, allowed: one more, as moment is for planar laws only",
    ),
    "too few samples": (
        changed((TRUTH, [truths("product", 2, 4), truths("gaussian", 2, 16, samples=159)])),
        "learning.truth[1].samples: found 159, allowed: an integer >= 160, 10 per dimension of the largest, 16",
    ),
    "no samples": (
        changed((f"{TRUTH}.0.samples", DELETE)),
        "learning.truth[0].samples: found nothing, allowed: an integer >= 100 and <= 10000000",
    ),
    "samples for every law": (
        changed(("learning.samples", 2000)),
        "learning.samples: found the unknown key 'samples', allowed: methods, seeds, points, epsilon, w2dual, planar, ",
    ),
    "no training": (
        changed(("learning.planar.training", DELETE)),
        "learning.planar.training: found nothing, allowed: a mapping with the keys steps, batch, learning_rate, widths",
    ),
    "unknown setting": (
        changed(("learning.planar.training.width", [16])),
        "learning.planar.training.width: found the unknown key 'width', allowed: steps, batch, learning_rate, widths, "
        "pieces, smoothing, slope, quadratic, moves, tolerance, conjugate_steps; did you mean widths?",
    ),
    "no hidden layer": (
        changed(("learning.planar.training.widths", [])),
        "training.widths: found [], allowed: a list of 1 to 8 values, each an integer >= 1 and <= 4096",
    ),
    "unknown energy": (
        changed((f"{ENERGIES}.0.energies.1", "four_mode")),
        "density.energies[0].energies[1]: found 'four_mode', allowed: one of banana, four_modes, forty_modes, ring, "
        "funnel, two_moons, double_wells, student_t, anisotropic, logistic; did you mean four_modes?",
    ),
    "energy in another dimension": (
        changed((ENERGIES, [energies("funnel", 2, 10), energies("banana", 2, 8)])),
        "density.energies[1].dimensions[1]: found 8 for banana, allowed: 2",
    ),
    "logistic regression in the plane": (
        changed((ENERGIES, [energies("logistic", 2)])),
        "density.energies[0].dimensions[0]: found 2 for logistic, allowed: 31",
    ),
    "energy twice": (
        changed((ENERGIES, [energies("funnel", 2, 10), energies("ring", 2), energies("funnel", 10)])),
        "density.energies[2]: found funnel in dimension 10, allowed: an energy and dimension that no entry before has",
    ),
    "unknown method for densities": (
        changed(("density.methods.0", "cmfna")),
        "density.methods[0]: found 'cmfna', allowed: one of cmfma, affine_kl, reverse_kl, mala, nuts, smc; did you ",
    ),
    "sampler without a budget": (
        changed(("density.methods", ["reverse_kl", "nuts", "smc"])),
        "density.methods: found nuts without cmfma, allowed: cmfma too, whose evaluations are its budget",
    ),
    "one seed of a density": (
        changed((f"{ENERGIES}.0.seeds", [0])),
        "density.energies[0].seeds: found [0], allowed: a list of 2 to 100 different values, each an integer >= 0",
    ),
    "too many points of a density": (
        changed(("density.points", 3001)),
        "density.points: found 3001, allowed: an integer >= 100 and <= 3000",
    ),
    "no regularisation": (
        changed(("density.epsilon_share", 0)),
        "density.epsilon_share: found 0, allowed: a number >= 0.0001 and <= 1",
    ),
    "no exploration": (
        changed((f"{ENERGIES}.0.training.explorations", DELETE)),
        "density.energies[0].training.explorations: found nothing, allowed: an integer >= 1000 and <= 1000000000",
    ),
    "share of the whole batch": (
        changed((f"{ENERGIES}.0.training.share", 1.0)),
        "density.energies[0].training.share: found 1.0, allowed: a number >= 0.01 and <= 0.99",
    ),
    "setting of another training": (
        changed((f"{ENERGIES}.0.training.step", 3)),
        "density.energies[0].training.step: found the unknown key 'step', allowed: steps, batch, learning_rate, "
        "widths, pieces, smoothing, slope, quadratic, moves, tolerance, conjugate_steps, share, scale, explorations; ",
    ),
    "no entry of energies": (
        changed((ENERGIES, [])),
        "density.energies: found [], allowed: a list of 1 or more mappings with the keys energies, dimensions, seeds, ",
    ),
    "unknown set of images": (
        changed(("images.sets.celeba", SMOKE["images"]["sets"]["digits"])),
        "images.sets.celeba: found the key 'celeba', allowed: a non-empty mapping of digits, glyphs, avatars, mnist",
    ),
    "more images than there are": (
        changed((f"{DIGITS}.samples", 1598)),
        "images.sets.digits.samples: found 1598 + 2 x 100 images, allowed: at most 1797, all there are of digits",
    ),
    "more held-out images than there are": (
        changed((f"{DIGITS}.held_out", 699)),
        "images.sets.digits.samples: found 400 + 2 x 699 images, allowed: at most 1797, all there are of digits",
    ),
    "unknown network": (
        changed((f"{DIGITS}.training.patch", PATCHES)),
        "sets.digits.training.patch: found the key 'patch', allowed: a mapping of patches or whole to train",
    ),
    "no network": (
        changed((f"{DIGITS}.training", {})),
        "images.sets.digits.models[1]: found cmfgen_patches, allowed: affine, or a method and a network that has "
        "settings: quadratics",
    ),
    "model without its network": (
        changed((f"{DIGITS}.training.whole", DELETE)),
        "images.sets.digits.models[2]: found cmfgen_whole, allowed: affine, or a method and a network that has "
        "settings: patches, quadratics",
    ),
    "unknown model of images": (
        changed((f"{DIGITS}.models.1", "cmfgen_patch")),
        "images.sets.digits.models[1]: found 'cmfgen_patch', allowed: one of affine, cmfgen_patches, cmfgen_whole, cmf",
    ),
    "patches that leave pixels out": (
        changed((f"{DIGITS}.training.patches.patch", 5)),
        "digits.training.patches.patch: found patches of 5 every 4 pixels, allowed: patches that cover 8 x 8 pixels",
    ),
    "patches with pixels between them": (
        changed((f"{DIGITS}.training.patches", {**PATCHES, "patch": 2, "stride": 6})),
        "digits.training.patches.patch: found patches of 2 every 6 pixels, allowed: patches that cover 8 x 8 pixels",
    ),
    "patches larger than the image": (
        changed((f"{DIGITS}.training.patches.patch", 12)),
        "digits.training.patches.patch: found patches of 12 every 4 pixels, allowed: patches that cover 8 x 8 pixels",
    ),
    "patch that is no number": (
        changed((f"{DIGITS}.training.patches.patch", 4.5)),
        "digits.training.patches.patch: found 4.5, allowed: an integer >= 2 and <= 32, or null",
    ),
    "patches without a side": (
        changed((f"{DIGITS}.training.patches", {**PATCHES, "patch": None, "widths": [4]})),
        "digits.training.patches.patch: found null, allowed: a number of pixels",
    ),
    "the whole image in patches": (
        changed((f"{DIGITS}.training.whole", PATCHES)),
        "digits.training.whole.patch: found 4, allowed: null",
    ),
    "one layer for patches": (
        changed((f"{DIGITS}.training.patches.widths", [4])),
        "digits.training.patches.widths: found [4], allowed: 2 for patches: groups of filters, and units above",
    ),
    "two layers for the whole image": (
        changed((f"{DIGITS}.training.whole.widths", [2, 4])),
        "digits.training.whole.widths: found [2, 4], allowed: 1 for the whole image: its maxima",
    ),
    "completions by a model that is not fitted": (
        changed(("images.inpainting.models", ["cmfgen_patches", "monge_whole"])),
        "images.inpainting.models[1]: found monge_whole for digits, allowed: cmfgen_patches, cmfgen_whole, cmfgen_",
    ),
    "completions by quadratics of images that are too large": (
        changed(
            (
                "images.sets.avatars",
                {**SMOKE["images"]["sets"]["digits"], "models": ["cmfgen_patches", "cmfgen_quadratics"]},
            ),
            ("images.inpainting.sets", ["avatars"]),
            ("images.inpainting.models", ["cmfgen_quadratics"]),
        ),
        "images.inpainting.models[0]: found cmfgen_quadratics for avatars, allowed: cmfgen_patches",
    ),
    "completions without any fit": (
        changed((f"{DIGITS}.models", ["affine"])),
        "images.inpainting.models[0]: found cmfgen_patches for digits, allowed: no model",
    ),
    "completions by the affine model": (
        changed(("images.inpainting.models.0", "affine")),
        "images.inpainting.models[0]: found 'affine', allowed: one of cmfgen_patches, cmfgen_whole, cmfgen_quadra",
    ),
    "more images to complete than held out": (
        changed(("images.inpainting.images", 101)),
        "images.inpainting.images: found 101, allowed: at most held_out, 100",
    ),
    "unknown mask": (
        changed(("images.inpainting.masks.0", "halves")),
        "images.inpainting.masks[0]: found 'halves', allowed: one of half, centre, random, strokes; did you mean half?",
    ),
    "too few chains": (
        changed(("images.inpainting.chains", 3)),
        "images.inpainting.chains: found 3, allowed: an integer >= 4 and <= 64",
    ),
    "scales in reverse": (
        changed(("spread.scales.smallest", 20.0)),
        "spread.scales.smallest: found 20.0, allowed: a number below `largest`, which is 10.0",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line(name):
    config, expected = FAULTS[name]
    message = refusal(config)
    assert len(message.splitlines()) == 1
    assert message.startswith("config: ")
    assert expected in message


def test_endless_nesting_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    assert "found endless nesting" in refusal(changed(("seeds", loop)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: [0, 1\nsamples: 3\n", "in line 2, column"),
        ("a: \x07", "allowed: a file in YAML"),
        ("a: 2020-13-45", "allowed: a file in YAML"),
        ("[" * 5000, "allowed: a file in YAML"),
        ("", "(the whole file): found None"),
    ],
)
def test_files_that_are_not_yaml(tmp_path, text, expected):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, schema=SCHEMA, root=tmp_path)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"^config: .*nowhere\.yaml.*: found no such file"):
        load(tmp_path / "nowhere.yaml", schema=SCHEMA, root=tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(ConfigError, match="encoded as UTF-8"):
        load(tmp_path / "latin.yaml", schema=SCHEMA, root=tmp_path)


# Samples


@pytest.mark.parametrize("name", ["row.npy", "column.npy", "numbers.txt", "numbers.csv"])
def test_samples_are_read(tmp_path, name):
    values = np.random.default_rng(0).normal(size=20)
    if name.endswith(".npy"):
        np.save(tmp_path / name, values if name == "row.npy" else values[:, None])
    else:
        np.savetxt(tmp_path / name, values, fmt="%.17g")
    np.testing.assert_array_equal(read_samples(tmp_path / name), values)
    config = validate(changed(law("samples", file=name)), schema=SCHEMA, root=tmp_path)
    assert config.univariate.laws["foo"] == records.SamplesEntry("foo", "samples", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"x\n1\n2\n", "'a.csv' (could not convert string to float: 'x'), allowed: one column of at least 10"),
        ("a.csv", b"1,2\n" * 20, "'a.csv' (could not convert string to float"),
        ("a.txt", b"", "'a.txt' (0 numbers), allowed"),
        ("a.txt", b"1\n2\n", "'a.txt' (2 numbers), allowed"),
        ("a.txt", b"1\n2\nnan\n" * 9, "'a.txt' (numbers that are not finite), allowed"),
        ("a.txt", b"1\n" * 20, "'a.txt' (numbers that are all equal), allowed"),
        ("a.txt", b"\xff\xfe", "'a.txt' ('utf-8' codec"),
        ("a.npy", b"", "'a.npy' ("),
        ("a.npy", b"PK\x03\x04", "'a.npy' ("),
    ],
)
def test_samples_that_are_refused(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    message = refusal(changed(law("samples", file=name)), tmp_path)
    assert f"univariate.laws.foo.file: found {expected}" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "values", [np.zeros((20, 2)), np.arange(20) * 1j, np.array([None] * 20), np.array(["1"] * 20)], ids=str
)
def test_arrays_that_are_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    assert "foo.file: found 'a.npy' (" in refusal(changed(law("samples", file="a.npy")), tmp_path)


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    assert "'a.txt' (is a directory)" in refusal(changed(law("samples", file="a.txt")), tmp_path)


# Fingerprint and cost


def test_fingerprint_ignores_the_order_of_keys_and_nothing_else():
    assert fingerprint(dict(reversed(SMOKE.items()))) == fingerprint(SMOKE)
    assert fingerprint(changed(("samples", 2001))) != fingerprint(SMOKE)
    assert fingerprint(changed(("seeds", [1, 0]))) != fingerprint(SMOKE)
    assert len(fingerprint(SMOKE)) == 16
    assert fingerprint({"a": [1, 2.5]}) == "45114ee64965e5a9"


def test_the_package_itself_imports_neither_scipy_nor_jsonschema():
    code = (
        "import sys, conjugate_moments.config\n"
        "sys.exit(' '.join({'scipy', 'jsonschema', 'yaml'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Anything at all


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 2, 10**400, 1e308, -0.0, 1e-320, "1e-3", "norm", "mixture", "gamma", "a.csv"]),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(SCALARS.filter(lambda key: key == key), inner, max_size=4)
    ),
    max_leaves=6,
)


def nodes(node: Any, parent: Any = None, key: Any = None):
    if parent is not None:
        yield parent, key
    if isinstance(node, dict | list):
        for inner in list(node) if isinstance(node, dict) else range(len(node)):
            yield from nodes(node[inner], node, inner)


def mutate(config: dict[str, Any], data: st.DataObject) -> None:
    places = list(nodes(config))
    if not places:
        return
    parent, key = places[data.draw(st.integers(0, len(places) - 1), label="place")]
    match data.draw(st.sampled_from(["delete", "rename", "replace", "swap"]), label="how"):
        case "delete":
            del parent[key]
        case "rename" if isinstance(parent, dict):
            parent[data.draw(st.text(max_size=5) | st.just(f"{key}s"), label="name")] = parent.pop(key)
        case "swap":
            other, name = places[data.draw(st.integers(0, len(places) - 1), label="other")]
            parent[key] = copy.deepcopy(other[name])
        case _:
            parent[key] = data.draw(ANYTHING, label="value")


def verdict(config: object) -> str | None:
    try:
        assert isinstance(validate(config, schema=SCHEMA, root=ROOT), Config)
    except ConfigError as error:
        return str(error)
    return None


def is_one_line(message: str | None, start: str) -> bool:
    """Whether a message, if there is one, has the form of every refusal."""
    if message is None:
        return True
    return message.startswith(start) and ": found " in message and ", allowed: " in message and message.isprintable()


@settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_is_found_there_is_a_config_or_one_line(data):
    config = copy.deepcopy(SMOKE)
    for _ in range(data.draw(st.integers(1, 3), label="mutations")):
        mutate(config, data)
    assert is_one_line(verdict(config), "config: ")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    family=st.sampled_from(["norm", "gamma", "beta", "t", "uniform", "johnsonsu", "truncnorm"]),
    parameters=st.dictionaries(
        st.sampled_from(["a", "b", "df", "loc", "scale"]), st.floats() | st.integers(-(10**310), 10**310), max_size=4
    ),
)
def test_whatever_the_parameters_there_is_a_config_or_one_line(family, parameters):
    message = verdict(changed(scipy_law(family, **parameters)))
    assert is_one_line(message, "config: univariate.laws.foo.parameters")
