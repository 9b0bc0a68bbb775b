"""All published finders on the same folds: `lensweep compare`."""
