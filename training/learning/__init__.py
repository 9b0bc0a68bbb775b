"""From the grades of a run's candidates to better heads: labels, features, a step, a bundle."""
