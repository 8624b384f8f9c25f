"""Read and write files with checksums (checked.py), and convert JSON to values of a type (typed.py)."""
