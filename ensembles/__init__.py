"""Shipped ensemble bundles: data, found by scanner.ensemble."""
