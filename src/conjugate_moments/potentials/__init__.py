"""Convex functions and the log-concave densities they define."""
