"""Names of the stored types and of the compressions that a store's schema can have."""

from __future__ import annotations

from typing import Literal, get_args

DType = Literal["float32", "float16", "bfloat16", "int8", "int4"]
DTYPES: tuple[DType, ...] = get_args(DType)

Compression = Literal["none", "zstd", "blosc"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
