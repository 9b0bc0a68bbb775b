"""Shipped ensemble bundles: data, found by `lensweep.scanner.network.bundle_store`."""
