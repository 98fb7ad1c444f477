import ast
import os
import sys
from functools import cache
from pathlib import Path

ROOT = Path(workflow.basedir)
SOURCE = ROOT / "src"
SCRIPTS = ROOT / "workflow" / "scripts"

# Jobs import the package from this checkout, whatever is installed. Each is one thread on the CPU: more would only
# compete with the other jobs.
sys.path.insert(0, str(SOURCE))
os.environ.update(PYTHONPATH=os.pathsep.join([str(SOURCE), *filter(None, [os.getenv("PYTHONPATH")])]))
# A job that a cluster gave no GPU finds none where the others are asked for theirs.
ON_CPU = workflow.remote_exec and not os.getenv("CUDA_VISIBLE_DEVICES")
PLATFORMS = "cpu" if ON_CPU else os.getenv("JAX_PLATFORMS", "cpu")
os.environ.update(
    NPROC="1",  # of the threads of XLA
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    JAX_PLATFORMS=PLATFORMS,
    # Every job that draws would compile the same generator anew.
    JAX_COMPILATION_CACHE_DIR=str(Path(".snakemake/jax").resolve()),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
)

from conjugate_moments.config import ConfigError, SamplesEntry, fingerprint, validate
from conjugate_moments.config.density import SAMPLERS
from conjugate_moments.config.images import BASELINES

try:
    CONFIG = validate(config, schema=ROOT / "workflow" / "schemas" / "config.schema.yaml", root=Path())
except ConfigError as error:
    raise SystemExit(str(error))  # a WorkflowError would say where in this file it was raised, in two more lines


def batched(items, size):
    """Lists of `size` items each, the last perhaps shorter."""
    items = list(items)
    return [items[first : first + size] for first in range(0, len(items), size)]


TABLES = ["gaussian", "univariate", "spread", "planar", "truth", "density", "images", "inpainting", "claims"]
FACTORIZATIONS = ["moment", "conjugate"]
LAWS_PER_PAGE = 12
# Priority of the longest jobs, those of images: begun last, one of them would be waited for by all other cores.
FIRST = 1
# Figures of the univariate laws, by name, and the laws on each.
PAGES = {
    f"univariate-{page}" if page > 1 else "univariate": laws
    for page, laws in enumerate(batched(CONFIG.univariate.laws, LAWS_PER_PAGE), start=1)
}


# Laws whose potential is learned: planar ones by name, those of known potential by family and dimension.
TRUTHS = {
    f"{family}_d{dimension}": (family, dimension, entry)
    for entry in CONFIG.learning.truth
    for family in entry.families
    for dimension in entry.dimensions
}
LEARNED = [*CONFIG.learning.planar.laws, *TRUTHS]
# The moment measure has another potential and another source than the known ones: there is nothing to compare.
TRUTH_METHODS = [method for method in CONFIG.learning.methods if method != "moment"]

# Laws known by their density up to a constant, by name and dimension, and what is made of them.
ENERGIES = {
    f"{name}_d{dimension}": (name, dimension, entry)
    for entry in CONFIG.density.energies
    for name in entry.energies
    for dimension in entry.dimensions
}
POSTERIORS = [energy for energy, (name, *_) in ENERGIES.items() if name == "logistic"]  # without exact draws
DENSITY_FITS = [method for method in CONFIG.density.methods if method not in SAMPLERS]
# Laws of the figure, which shows what the method of the paper makes of planar ones.
DENSITY_PANELS = [
    energy for energy, (_, dimension, _) in ENERGIES.items() if dimension == 2 and "cmfma" in DENSITY_FITS
]
DENSITY_SEEDS = sorted({seed for entry in CONFIG.density.energies for seed in entry.seeds})

# Sets of images, and what completes them: fits, and what has none.
IMAGES = CONFIG.images.sets
IMAGE_MODELS = {name: entry.models for name, entry in IMAGES.items()}
RESTORERS = [*BASELINES, *CONFIG.images.inpainting.models]
IMAGE_SEEDS = sorted({seed for entry in IMAGES.values() for seed in entry.seeds})


wildcard_constraints:
    images="|".join(IMAGES),
    model="|".join(sorted({model for entry in IMAGES.values() for model in entry.models})),
    trained="|".join(sorted({model for entry in IMAGES.values() for model in entry.models if model != "affine"})),
    restorer="|".join(RESTORERS),
    repeat="|".join(map(str, IMAGE_SEEDS)),
    energy="|".join(ENERGIES),
    fitted="|".join(DENSITY_FITS),
    sampler="|".join(SAMPLERS),
    approach="|".join(CONFIG.density.methods),
    repetition="|".join(map(str, DENSITY_SEEDS)),
    learned="|".join(LEARNED),
    planar="|".join(CONFIG.learning.planar.laws),
    truth="|".join(TRUTHS),
    method="|".join(CONFIG.learning.methods),
    seed="|".join(map(str, CONFIG.learning.seeds)),
    law="|".join([*CONFIG.gaussian.laws, *CONFIG.univariate.laws]),
    page="|".join(PAGES),


def out(path):
    """A path in the output folder."""
    return f"{CONFIG.output}/{path}"


def tables():
    """Every table."""
    return expand(
        out("tables/{name}.{form}"),
        name=TABLES,
        form=["csv", "md", "tex"],
    )


def figures():
    """Every figure, as vectors and as a bitmap."""
    names = ["gaussian", *PAGES, "convergence", "spread", "planar", "failures", "truth"]
    names += [f"{kind}-{images}" for kind in ("images", "paths", "traces") for images in IMAGES]
    names += [f"inpainting-{images}" for images in CONFIG.images.inpainting.sets]
    if DENSITY_PANELS:
        names.append("density")
    return expand(out("figures/{name}.{form}"), name=names, form=["pdf", "png"])


def labels(laws):
    """What figures and tables call univariate laws."""
    return [CONFIG.univariate.laws[law].label for law in laws]


def planar_fits():
    """Law and factorisation of every fit in the plane, the only dimension where ellipses can be drawn."""
    return [
        (name, method) for name, law in CONFIG.gaussian.laws.items() if len(law.mean) == 2 for method in FACTORIZATIONS
    ]


def planar_methods():
    """Law and method of every planar fit."""
    return [(law, method) for law in CONFIG.learning.planar.laws for method in CONFIG.learning.methods]


def truth_methods():
    """Family, dimension and method of every fit to a law of known potential."""
    return [(family, dimension, method) for family, dimension, _ in TRUTHS.values() for method in TRUTH_METHODS]


def gaussian_law(wildcards):
    """Entry of a Gaussian law."""
    return CONFIG.gaussian.laws[wildcards.law]


def univariate_law(wildcards):
    """Entry of a univariate law."""
    return CONFIG.univariate.laws[wildcards.law]


def known_truth(wildcards):
    """Family and dimension of a law of known potential; None for a planar law."""
    return TRUTHS[wildcards.learned][:2] if wildcards.learned in TRUTHS else None


def study(law):
    """Entry of the configuration that says how a law is learned."""
    return TRUTHS[law][2] if law in TRUTHS else CONFIG.learning.planar


def training(wildcards):
    """Training settings of the networks for a law, by the method of the paper and its kin or by OTT; None without."""
    if wildcards.method == "affine":
        return None
    return CONFIG.learning.w2dual if wildcards.method == "w2dual" else study(wildcards.learned).training


def learned_fits(wildcards):
    """Fits of one method to one law, for every seed."""
    return expand(
        out("fits/learned/{learned}/{method}/seed{seed}/fit.npz"),
        learned=wildcards.learned,
        method=wildcards.method,
        seed=CONFIG.learning.seeds,
    )


def floors(wildcards):
    """Noise floors of a planar law; there are none where the truth is known."""
    return [] if wildcards.learned in TRUTHS else [out(f"metrics/learned/{wildcards.learned}/floors.csv")]


def density_seeds(energy):
    """Seeds of the runs on a law that is known by its density."""
    return ENERGIES[energy][2].seeds


def posterior(wildcards):
    """The chains that stand for exact draws of a law that has none."""
    return [out("data/density/logistic.npz")] if wildcards.energy in POSTERIORS else []


def true_draws(wildcards):
    """Draws of a law that is known by its density, for every seed."""
    return expand(
        out("data/density/{energy}/seed{seed}.npz"), energy=wildcards.energy, seed=density_seeds(wildcards.energy)
    )


def density_runs(wildcards):
    """What one method made of one law, for every seed: files of fits or of draws."""
    name = "sample.npz" if wildcards.approach in SAMPLERS else "fit.npz"
    return [f"{folder}/{name}" for folder in density_folders(wildcards)]


def density_efforts(wildcards):
    """What these runs cost."""
    return [f"{folder}/effort.csv" for folder in density_folders(wildcards)]


def density_folders(wildcards):
    """Folders of the runs of one method on one law."""
    return expand(
        out("fits/density/{energy}/{method}/seed{seed}"),
        energy=wildcards.energy,
        method=wildcards.approach,
        seed=density_seeds(wildcards.energy),
    )


def density_digest(wildcards):
    """Digest of what a run depends on or, where no seed is named, the scores of all seeds, for provenance."""
    *law, entry = ENERGIES[wildcards.energy]
    run = fingerprint({"law": law, "training": entry.training.to_dict()})
    if "repetition" in wildcards.keys():
        return run
    scores = digest("density.points", "density.epsilon_share")
    return fingerprint({"runs": run, "seeds": entry.seeds, "scores": scores(wildcards)})


def image_models():
    """Set and model of every row of the table of images."""
    return [(images, model) for images, models in IMAGE_MODELS.items() for model in models]


def trained_models(images):
    """Models of a set that are trained."""
    return [model for model in IMAGE_MODELS[images] if model != "affine"]


def image_files(wildcards):
    """The images of a set, for every seed."""
    return expand(
        out("data/images/{images}/seed{repeat}.npz"), images=wildcards.images, repeat=IMAGES[wildcards.images].seeds
    )


def image_fits(model):
    """Fits of a model, given by a wildcard of this name, to a set of images, for every seed; none without a fit."""

    def of(wildcards):
        name = wildcards[model]
        return [
            out(f"fits/images/{wildcards.images}/{name}/seed{seed}/fit.npz")
            for seed in IMAGES[wildcards.images].seeds
            if name in trained_models(wildcards.images)
        ]

    return of


def image_training(wildcards):
    """Training settings of a model of images."""
    return IMAGES[wildcards.images].networks[wildcards.trained.partition("_")[2]]


def images_digest(*parts):
    """Digest of what a result on a set of images depends on, and of these parts of `images`, for provenance."""

    def of(wildcards):
        entry = config["images"]["sets"][wildcards.images]
        chosen = {part: config["images"][part] for part in parts}
        return fingerprint({"set": wildcards.images, "entry": entry, **chosen})

    return of


def draws_digest(law):
    """Digest of what the draws of a learned law depend on, for provenance."""
    return fingerprint({"law": law, "samples": study(law).samples, "seeds": CONFIG.learning.seeds})


def learned_digest(wildcards):
    """Digest of what a fit depends on or, where no seed is named, the scores of all seeds, for provenance."""
    settings = training(wildcards)
    fit = fingerprint(
        {
            "law": wildcards.learned,
            "samples": study(wildcards.learned).samples,
            "training": settings and settings.to_dict(),
        }
    )
    scores = digest("learning.seeds", "learning.points", "learning.epsilon")
    return fit if "seed" in wildcards.keys() else fingerprint({"fits": fit, "scores": scores(wildcards)})


def digest(*paths):
    """Digest of the parts of the configuration that a result depends on, for its provenance: dotted, with wildcards."""

    def of(wildcards):
        return fingerprint({path: part(path.format(**wildcards)) for path in paths})

    return of


def solved(laws):
    """What the factorisations of univariate laws depend on, for `digest`."""
    return [*(f"univariate.laws.{law}" for law in laws), "univariate.tolerance", "univariate.max_iterations"]


def part(path):
    """The part of the configuration at a dotted path."""
    found = config
    for key in path.split("."):
        found = found[key]
    return found


def observations(wildcards):
    """The file of numbers that a law is made of, if it is."""
    entry = univariate_law(wildcards)
    return [str(entry.file)] if isinstance(entry, SamplesEntry) else []


def code(script):
    """The script and the modules of the package that it imports, directly or not.

    A rule that takes them as input runs again when one of them changes, and not when another does. The package's
    `__init__` is left out: it only gives names to what is defined elsewhere.
    """
    found = set()
    waiting = [SCRIPTS / script]
    while waiting:
        path = waiting.pop()
        found.add(path)
        waiting.extend(imports(path) - found)
    return sorted(os.path.relpath(path) for path in found)


@cache
def imports(path):
    """Modules of the package that a file imports anywhere in it."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) and node.module]
    names = {
        name
        for node in nodes
        for name in [
            node.module,
            *(f"{node.module}.{alias.name}" for alias in node.names),
        ]
    }
    paths = {SOURCE / f"{name.replace('.', '/')}.py" for name in names if name.startswith("conjugate_moments.")}
    return {path for path in paths if path.is_file()}
