"""Interaction logs and published history rows to ranking tasks: read, split, audit, write."""
