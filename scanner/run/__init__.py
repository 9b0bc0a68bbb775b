"""What a run is: config, folder, plan, stores, ledger, status."""
