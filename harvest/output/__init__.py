"""The store that a harvest writes: disk space, an existing store, its replacement, provenance, and workers."""
