"""Tables on the sky: positions, cross-matches, known lenses and the candidate catalogue."""
