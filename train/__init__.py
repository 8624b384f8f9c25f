"""Stage two: train SAEs on a store (not built yet)."""
