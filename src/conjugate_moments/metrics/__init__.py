"""What is scored: how far a fit's samples are from true ones, beside what two true samples are from each other."""
