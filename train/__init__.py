"""Stage two: train SAEs on a store (data/), without the language model. See `train --help`.

from train import load_sae, train

results = train("data/demo.zarr", variant="nsae", l1=[5e-6, 3e-5], activations="1M", out="runs/alpha")
sae = load_sae(results[0].folder, layer=3)
"""

from typing import TYPE_CHECKING

from data.system.lazy import attributes

__all__ = [
    "NSAE",
    "SAE",
    "BaselineSAE",
    "DamagedRunError",
    "RunResult",
    "SAESource",
    "export_sae",
    "import_run",
    "load_plugin",
    "load_sae",
    "train",
]

if TYPE_CHECKING:
    from train.api import train
    from train.architectures import NSAE, BaselineSAE
    from train.interchange.export import export_sae
    from train.interchange.import_run import import_run
    from train.output.files.checked import DamagedRunError
    from train.output.load import SAESource, load_sae
    from train.output.results import RunResult
    from train.plugins import load_plugin
    from train.sae import SAE

__getattr__ = attributes(
    __name__,
    {
        "NSAE": "train.architectures",
        "SAE": "train.sae",
        "BaselineSAE": "train.architectures",
        "DamagedRunError": "train.output.files.checked",
        "RunResult": "train.output.results",
        "SAESource": "train.output.load",
        "export_sae": "train.interchange.export",
        "import_run": "train.interchange.import_run",
        "load_plugin": "train.plugins",
        "load_sae": "train.output.load",
        "train": "train.api",
    },
)
