"""The spread study: univariate laws, stretched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from conjugate_moments.config._messages import closest, listed, quote, refuse
from conjugate_moments.config.scales import Scales, check_scales


@dataclass(frozen=True)
class Spread:
    """The spread study: names of univariate laws, and the factors by which each is stretched."""

    laws: tuple[str, ...]
    scales: Scales


def check_spread(spread: Spread, known: Collection[str]) -> None:
    """Refuse names that are not among the univariate laws, `known`, and a sweep that does not ascend."""
    for index, name in enumerate(spread.laws):
        if name not in known:
            allowed = f"a name in univariate.laws ({listed(known)})"
            refuse(("spread", "laws", index), quote(name), allowed, closest(name, known))
    check_scales(("spread", "scales"), spread.scales)
