"""The SAE architectures, one file each, and the table of them. train/sae has what they have in common.

To add an architecture, add a file with a subclass of `SAE`, its settings (train/variants/), and an entry in
ARCHITECTURES; docs/extending.md has an example.
"""

from train.architectures.baseline import BaselineSAE
from train.architectures.batchtopk import BatchTopKSAE
from train.architectures.frozen import FrozenDecoderSAE
from train.architectures.gated import GatedSAE
from train.architectures.jumprelu import JumpReLUSAE
from train.architectures.matryoshka import MatryoshkaSAE
from train.architectures.nsae import NSAE
from train.architectures.p_anneal import PAnnealSAE
from train.architectures.relu import ReLUSAE
from train.architectures.topk import TopKSAE
from train.plugins import known_plugin
from train.sae import SAE
from train.variants import settings_of

ARCHITECTURES: dict[str, type[SAE]] = {
    sae.variant: sae
    for sae in (
        BaselineSAE, NSAE, ReLUSAE, GatedSAE, TopKSAE, BatchTopKSAE, JumpReLUSAE, MatryoshkaSAE, PAnnealSAE,
        FrozenDecoderSAE,
    )
}  # fmt: skip


def architecture_of(variant: str) -> type[SAE]:
    """Return the architecture of a variant, also of another package. Raises InputError if there is none."""
    if variant in ARCHITECTURES:
        return ARCHITECTURES[variant]
    settings_of(variant)  # raises if there is none
    architecture: type[SAE] | None = known_plugin(variant)
    assert architecture is not None
    return architecture


__all__ = ["ARCHITECTURES", "NSAE", "BaselineSAE", "architecture_of"]
