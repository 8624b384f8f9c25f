"""The libraries that only one stage needs, and the message that tells how to install them."""

from __future__ import annotations

# By extra of the package (pyproject.toml): the modules that its libraries provide.
EXTRAS = {
    "harvest": (
        "transformer_lens", "transformers", "accelerate", "datasets", "pyarrow", "zstandard", "huggingface_hub",
        "tokenizers",
    ),
    "analyze": ("matplotlib", "PIL", "scipy", "jinja2", "vl_convert"),
    "object-store": ("obstore", "boto3"),
}  # fmt: skip


def missing_library(error: Exception) -> str | None:
    """Return a sentence with the remedy if `error` is the failed import of such a library; else None."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return f"{module} is not installed, which this command needs; pip install 'nsae-pipeline[{extra}]'"
    return None
