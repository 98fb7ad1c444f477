"""What a potential says beyond its map: normalised densities with their errors."""
