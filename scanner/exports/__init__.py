"""A finished run for other tools: tables, regions, maps, stamps, messages."""
