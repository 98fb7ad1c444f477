"""Solvers of the conjugate: the y with ∇w(y) = x, for batches of x."""

from conjugate_moments.conjugates.base import Conjugate, ConjugateSolution, discrete_start
from conjugate_moments.conjugates.implicit import transport
from conjugate_moments.conjugates.lbfgs import LBFGS
from conjugate_moments.conjugates.newton import Newton
from conjugate_moments.conjugates.newton_cg import NewtonCG
from conjugate_moments.conjugates.preconditioner import mean_preconditioner
from conjugate_moments.conjugates.selection import conjugate_solver

__all__ = [
    "LBFGS",
    "Conjugate",
    "ConjugateSolution",
    "Newton",
    "NewtonCG",
    "conjugate_solver",
    "discrete_start",
    "mean_preconditioner",
    "transport",
]
