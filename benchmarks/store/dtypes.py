"""What does each storage type cost in accuracy?  python benchmarks/store/dtypes.py --model DIR --dataset FILE

Relative error ‖x − x̂‖ / ‖x‖ of real `hook_mlp_out` rows, all layers, position 0 and its outliers included. The
channel scales of codes come from the first contexts, as in a harvest, and the errors from later ones. "ordinary
channels" leaves out the 1 % of channels with the largest root mean square, which dominate the norm where there are
outliers.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch

from benchmarks.shared.measure import report
from data.choices import DTYPES, DType
from data.store.encodings import ENCODINGS, VALUES, EncodedRows, as_stored, channel_scales
from harvest.inputs import open_inputs
from harvest.model.calibrate import CALIBRATION_CONTEXTS
from harvest.model.find import find_model
from harvest.model.load import load
from harvest.model.precision import Compute
from harvest.packed_dataset import pack_dataset
from harvest.request import Request
from harvest.text.sources import DatasetChoice

CPU = torch.device("cpu")


def contexts(model: str, dataset: str, n: int) -> np.ndarray:
    """The first contexts that a harvest would store, int64 [n, 256]."""
    facts = find_model(model, None)
    request = Request(
        model=model, revision=None, n_tokens=n * 256, dataset=DatasetChoice(dataset), layers=(0,), hooks=("mlp_out",),
        dtype="float32", compression="none", context_size=256, batch_size=16, skip_positions=0, prefix="none",
        separator=None, special_tokens=None, heldout=None, processing="centred", seed=0, compute=Compute(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        packed = pack_dataset(request, open_inputs(request, facts), Path(folder), stop=threading.Event(), quiet=True)
        return np.concatenate([tokens for tokens, _ in packed.contexts()]).astype(np.int64)


def errors(x: torch.Tensor, dtype: DType, scale: torch.Tensor, channels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of the rows x [n, d], over all channels and over some; NaN where it overflows."""
    encoding = ENCODINGS[dtype]
    encoded = encoding.encode(x, scale)
    if encoding.first_unstorable(encoded) is not None:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    row_scales = tuple(encoded[suffix][:, 0].numpy() for suffix in encoding.row_scales)
    per_channel = (scale.numpy(),) if encoding.channel_scales else ()
    stored = EncodedRows(as_stored(encoded[VALUES], encoding.stored), row_scales, per_channel)
    decoded = torch.from_numpy(encoding.decode(stored).astype(np.float32))
    difference = (x - decoded).double()
    some = difference[:, channels].norm(dim=1) / x.double()[:, channels].norm(dim=1)
    return (difference.norm(dim=1) / x.double().norm(dim=1)).numpy(), some.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--contexts", type=int, default=32, help="to measure on, after those for the channel scales")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    tokens = torch.from_numpy(contexts(args.model, args.dataset, CALIBRATION_CONTEXTS + args.contexts))
    facts = find_model(args.model, None)
    lm = load(facts, ["mlp_out"], range(facts.n_layers), processing="centred", device=CPU)
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in lm.widths}
    for batch in tokens.split(16):  # type: ignore[no-untyped-call]
        lm.capture(batch, lambda name, value: rows[name].append(value.flatten(0, 1).clone()))
    errors_by_type: dict[DType, list[tuple[np.ndarray, np.ndarray]]] = {dtype: [] for dtype in DTYPES}
    for parts in rows.values():
        x = torch.cat(parts)
        split = CALIBRATION_CONTEXTS * 256
        scale = channel_scales(x[:split])
        ordinary = torch.argsort(scale)[: int(0.99 * len(scale))]
        for dtype in DTYPES:
            errors_by_type[dtype].append(errors(x[split:], dtype, scale, ordinary))
    table = []
    for dtype, layers in errors_by_type.items():
        every, ordinary_errors = (np.concatenate([layer[i] for layer in layers]) for i in (0, 1))
        table.append(
            {
                "type": dtype,
                "mean error": float(np.nanmean(every)),
                "99.9 % of rows below": float(np.nanquantile(every, 0.999)),
                "worst row": float(np.nanmax(every)),
                "mean, ordinary channels": float(np.nanmean(ordinary_errors)),
                "worst layer's mean": float(max(np.nanmean(layer[0]) for layer in layers)),
                "layers that overflow": int(sum(np.isnan(layer[0]).any() for layer in layers)),
            }
        )
    largest = max(float(x.abs().max()) for parts in rows.values() for x in parts)
    report({"benchmark": "dtypes", "model": facts.label, "largest_entry": largest}, table, args.out)


if __name__ == "__main__":
    main()
