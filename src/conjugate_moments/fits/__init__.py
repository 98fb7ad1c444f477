"""Estimators of the potential: exact solvers, fixed points and their discretisations."""
