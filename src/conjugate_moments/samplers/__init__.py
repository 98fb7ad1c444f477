"""Samplers of Gibbs measures and the diagnostics that say whether they mixed."""
