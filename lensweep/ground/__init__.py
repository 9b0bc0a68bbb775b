"""What every floor stands on: files, errors, progress."""
