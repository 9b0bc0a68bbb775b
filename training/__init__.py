"""Labelled cutouts in, ensemble bundle out: simulation, training, evaluation."""
