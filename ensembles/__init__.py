"""Shipped ensemble bundles: data, found by scanner.bundle_store."""
