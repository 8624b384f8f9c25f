"""Numbers of bytes as text."""

from __future__ import annotations


def human_bytes(n: float) -> str:
    """Return a number of bytes with a decimal unit, such as `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(n) < 1000:
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.2f} TB"
