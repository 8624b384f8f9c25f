"""The formats by name. A new one is a file beside this one, and an entry here."""

from __future__ import annotations

from collections.abc import Callable

from train.interchange.dictionary_learning import dictionary_learning_files
from train.interchange.files import Files
from train.interchange.origin import Origin
from train.interchange.plain import plain_files, saebench_files
from train.interchange.portable import PortableSAE
from train.interchange.saelens import saelens_files
from train.interchange.sparsify import sparsify_files

EXPORTS: dict[str, Callable[[PortableSAE, Origin], Files]] = {
    "saelens": saelens_files,
    "dictionary-learning": dictionary_learning_files,
    "sparsify": sparsify_files,
    "saebench": saebench_files,
    "safetensors": plain_files,
}
