"""How good an ensemble is: tables, plots, completeness."""
