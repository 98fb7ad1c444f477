"""How far generated images are from real ones, and whether they are copies of those that a fit was trained on.

Images are rows `[n, d]`, flattened, in pixel levels (from 0 to 255, say), float64 or uint8. Every score is to be read
beside that of real images: `generation_scores` of one half of held-out images with the other half in the place of
`real`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random
from conjugate_moments.metrics.transport import gibbs_distance, sinkhorn_divergence

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout

COMPARED = (  # of the images alone; real ones have them too
    "sinkhorn",
    "sliced",
    "frechet",
    "two_sample",
    "precision",
    "recall",
    "density",
    "coverage",
    "nearest",
)
GENERATION_METRICS = (*COMPARED, "unconverged", "mixed")
FEATURES = 50  # principal components that the Fréchet distance is taken in
TREES = 200
FOLDS = 5


@dataclass(frozen=True, eq=False)
class PcaBasis:
    """Principal components of a set of images.

    Args:
      mean: `[d]`.
      components: orthonormal rows, of falling variance, `[k, d]`.
    """

    mean: Array
    components: Array

    def coordinates(self, images: ArrayLike) -> Array:
        """Of images `[n, d]`, `[n, k]`.

        Raises:
          ValueError: for images that are not finite `[n, d]`.
        """
        return (check_images("images", images, len(self.mean)) - self.mean) @ self.components.T


def pca_basis(train: ArrayLike, dim: int) -> PcaBasis:
    """The first min(dim, d, n - 1) principal components of images `[n, d]`, the same for the same images.

    Raises:
      ValueError: for images that are not finite, fewer than two of them, or a `dim` below 1.
    """
    train = check_images("train", train)
    if dim < 1 or len(train) < 2:
        raise ValueError(f"dim, train: found {dim} and {len(train)} images, allowed: at least 1 and at least 2")
    from sklearn.decomposition import PCA

    fitted = PCA(min(dim, train.shape[1], len(train) - 1), random_state=0).fit(train)
    return PcaBasis(np.asarray(fitted.mean_), np.asarray(fitted.components_))


def frechet_distance(first: ArrayLike, second: ArrayLike, basis: PcaBasis) -> float:
    """Squared W2 between the Gaussians with the moments of two sets of images, `[n, d]` and `[m, d]`, in a PCA basis.

    |m₁ - m₂|² + tr C₁ + tr C₂ - 2 tr (C₁^{1/2} C₂ C₁^{1/2})^{1/2} (Dowson & Landau 1982), in squared levels: the
    formula of the Fréchet inception distance (Heusel et al. 2017), in coordinates that no network has to provide. The
    last trace is the nuclear norm of R₁ R₂ᵀ for any R with RᵀR = C. With the triangular factor of the centred data as R
    no matrix is squared and no root is taken, so that singular covariances lose no digits.

    Raises:
      ValueError: if there are fewer than two images in a set, or as `PcaBasis.coordinates`.
    """
    (first_mean, first_root), (second_mean, second_root) = _moments(first, basis), _moments(second, basis)
    shared = np.linalg.svd(first_root @ second_root.T, compute_uv=False).sum()
    shift = np.sum((first_mean - second_mean) ** 2)
    # Rounding may leave a negative number of the size of 1e-16 of the variance.
    return float(max(shift + np.sum(first_root**2) + np.sum(second_root**2) - 2 * shared, 0.0))


def _moments(images: ArrayLike, basis: PcaBasis) -> tuple[Array, Array]:
    """Mean `[k]` of the coordinates, and R `[min(n, k), k]` with RᵀR their covariance."""
    found = basis.coordinates(images)
    if len(found) < 2:
        raise ValueError(f"images: found {len(found)}, allowed: at least 2, for a covariance")
    mean = found.mean(axis=0)
    return mean, np.asarray(np.linalg.qr((found - mean) / np.sqrt(len(found) - 1), mode="r"))


def two_sample_accuracy(generated: ArrayLike, real: ArrayLike, *, seed: int) -> float:
    """How often a random forest tells generated from real images that it has not seen (Lopez-Paz & Oquab 2017).

    `FOLDS` stratified folds; ½ for the same law, 1 for laws that are easily told apart.

    Args:
      generated: `[n, d]`.
      real: `[n, d]`.
      seed: of the folds and the forests.

    Raises:
      ValueError: if the images are not finite, or there are not as many of each, at least `FOLDS`.
    """
    generated, real = _check_pair(generated, real)
    if len(generated) != len(real) or len(real) < FOLDS:
        raise ValueError(
            f"generated, real: found {len(generated)} and {len(real)} images, allowed: as many of each, >= {FOLDS}"
        )
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    labels = np.repeat([0, 1], len(real))
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return float(np.mean(cross_val_predict(forest, np.concatenate([generated, real]), labels, cv=folds) == labels))


def sliced_wasserstein(first: ArrayLike, second: ArrayLike, *, projections: int = 256, key: jax.Array) -> float:
    """Sliced W2 between two sets of as many images, `[n, d]` each, in levels (Bonneel et al. 2015).

    The root of the mean of W2² over directions, which come in orthonormal frames (see `gibbs_distance`) of a random
    subspace of min(projections, d) dimensions: a direction drawn there is as one drawn from the whole sphere. For
    images that are all changed by c it is about |c|/√d, the root mean square over the numbers of an image.

    Raises:
      ValueError: if the shapes differ or are not `[n, d]`, an entry is not finite, or `projections` is below 1.
    """
    import jax

    first, second = _check_pair(first, second)
    if projections < 1:
        raise ValueError(f"projections: found {projections}, allowed: at least 1")
    dim = first.shape[1]
    if projections < dim:
        # The factor Q of a Gaussian matrix spans a uniform subspace.
        subspace, _ = np.linalg.qr(_random.normal(jax.random.fold_in(key, 0), (dim, projections)))
        first, second, dim = first @ subspace, second @ subspace, projections
    return float(gibbs_distance(first, second, key=jax.random.fold_in(key, 1)).value / np.sqrt(dim))


class Neighbours(NamedTuple):
    """Shares of images, but for `density`, which can exceed 1.

    Args:
      precision: of generated images within the reach of a real one.
      recall: of real images within the reach of a generated one.
      density: mean over generated images of the number of real ones that reach them, over k.
      coverage: of real images that reach a generated one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(generated: ArrayLike, real: ArrayLike, k: int = 5) -> Neighbours:
    """Fidelity and diversity (Kynkäänniemi et al. 2019; Naeem et al. 2020) in pixels, from exact distances.

    An image reaches as far as its k-th neighbour in its own set, that distance excluded, as in Naeem et al.'s own code:
    so a set compared with itself has density 1.

    Args:
      generated: `[n, d]`.
      real: `[m, d]`.
      k: at most the size of the smaller set less 1.

    Raises:
      ValueError: if the images are not finite, differ in size, or k is out of range.
    """
    generated, real = _check_pair(generated, real)
    most = min(len(generated), len(real)) - 1
    if not 1 <= k <= most:
        raise ValueError(f"k: found {k}, allowed: 1 to {most}, the smaller number of images less 1")
    from scipy.spatial.distance import cdist

    # From differences, not from inner products: an image and its copy are at 0, and the two sides are rounded alike.
    distances = cdist(real, generated, "sqeuclidean")
    reached_by_real = distances < _reach(real, k)[:, None]
    reached_by_generated = distances < _reach(generated, k)
    return Neighbours(
        precision=float(reached_by_real.any(axis=0).mean()),
        recall=float(reached_by_generated.any(axis=1).mean()),
        density=float(reached_by_real.sum(axis=0).mean() / k),
        coverage=float(reached_by_real.any(axis=1).mean()),
    )


def _reach(images: Array, k: int) -> Array:
    """Squared distance from each image to its k-th neighbour, `[n]`."""
    from scipy.spatial.distance import cdist

    return np.partition(cdist(images, images, "sqeuclidean"), k, axis=1)[:, k]  # the image itself is the 0th


def nearest_ratio(generated: ArrayLike, train: ArrayLike, real: ArrayLike) -> float:
    """Median distance from generated images to their nearest training image, over that from held-out real ones.

    Near 1 as long as the fit generalises, near 0 where it gives back training images; above 1 where generated images
    are farther from the data than real ones.

    Args:
      generated: `[n, d]`.
      train: `[m, d]`.
      real: not among `train`, `[l, d]`.

    Raises:
      ValueError: if the images are not finite, differ in size, or half of the real ones are training images.
    """
    generated, real = _check_pair(generated, real)
    train = check_images("train", train, real.shape[1])
    expected = np.median(_nearest_distances(real, train))
    if expected == 0:
        raise ValueError("real: found at least half of the images in train, allowed: held-out images")
    return float(np.median(_nearest_distances(generated, train)) / expected)


def _nearest_distances(images: Array, others: Array) -> Array:
    from sklearn.metrics import pairwise_distances_argmin

    # Recomputed from the difference: that of a copy is then 0.
    return np.linalg.norm(images - others[pairwise_distances_argmin(images, others)], axis=1)


def generation_scores(
    generated: ArrayLike,
    real: ArrayLike,
    train: ArrayLike,
    *,
    levels: float,
    epsilon_share: float,
    seed: int,
    key: jax.Array,
) -> dict[str, float]:
    """The metrics of `COMPARED`.

    Images are compared as they would be stored: rounded to whole levels and clipped to the range, real ones too. Else
    the digits after the point give a generated image away. Of the larger set the first images are taken, as many as the
    other has. Distances are in units of the range of levels, which makes them comparable across data sets: `sliced` in
    that unit, `sinkhorn` and `frechet` in its square, summed over the numbers of an image. A Sinkhorn divergence whose
    iterations did not converge is NaN, and says why.

    Args:
      generated: `[n, d]`, in random order.
      real: held out, `[m, d]`, in random order.
      train: what the fit has seen, `[l, d]`; the Fréchet distance is taken in `FEATURES` of its principal components.
      levels: the largest level, such as 255; the smallest is 0.
      epsilon_share: regularisation of the Sinkhorn divergence, as a share of the total variance of `real`.
      seed: of the classifier of the two-sample test.
      key: of the projections.

    Raises:
      ValueError: if the images are not finite, differ in size or are too few (`FOLDS` and six of each at least), or
        `levels` or `epsilon_share` is not positive.
    """
    check_levels(levels)
    generated, real = _check_pair(generated, real)
    train = check_images("train", train, real.shape[1])
    generated, real, train = (np.clip(np.rint(images), 0, levels) for images in (generated, real, train))
    n = min(len(generated), len(real))
    generated, real = generated[:n], real[:n]
    return {
        "sinkhorn": _divergence(generated / levels, real / levels, epsilon_share),
        "sliced": sliced_wasserstein(generated, real, key=key) / levels,
        "frechet": frechet_distance(generated, real, pca_basis(train, FEATURES)) / levels**2,
        "two_sample": two_sample_accuracy(generated, real, seed=seed),
        **precision_recall_density_coverage(generated, real)._asdict(),
        "nearest": nearest_ratio(generated, train, real),
    }


def _divergence(generated: Array, real: Array, epsilon_share: float) -> float:
    try:
        return sinkhorn_divergence(generated, real, epsilon=epsilon_share * float(real.var(axis=0).sum())).value
    except ArithmeticError as error:
        print(error)
        return np.nan


def _check_pair(generated: ArrayLike, real: ArrayLike) -> tuple[Array, Array]:
    real = check_images("real", real)
    return check_images("generated", generated, real.shape[1]), real


def check_images(name: str, images: ArrayLike, dim: int | None = None) -> Array:
    """The images in float64, `[n, d]`.

    Raises:
      ValueError: if there is none, they are not `[n, dim]` where `dim` is given, or an entry is not finite.
    """
    array = np.asarray(images, dtype=np.float64)
    if array.ndim != 2 or not array.size or array.shape[1] != (dim or array.shape[1]):
        raise ValueError(f"{name}: found shape {list(array.shape)}, allowed: non-empty [n, {dim or 'd'}]")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: found {int(np.sum(~np.isfinite(array)))} NaN or infinite entries, allowed: none")
    return array


def check_levels(levels: float) -> None:
    """Refuse a largest level that is none.

    Raises:
      ValueError: if it is not positive and finite.
    """
    if not (np.isfinite(levels) and levels > 0):
        raise ValueError(f"levels: found {levels}, allowed: a positive finite number")
