"""One training step of a stack of SAEs. In the order of a step:

    inputs.py         a batch on the device, and each row's norm
    sae_stack.py      SAEStack.step: inputs → gradients → loss → counts, measures → clip → Adam
    method.py         the choice of how the gradients are computed
    noise.py          NSAE's noise ε, as a function of seed and step
    gradients.py      the gradients' formulas of baseline and nsae, block by block of rows: start reading here
    workspace.py      the memory of one block, and the weights in the compute dtype
    encode.py         pre-activations, noise, which features fire; the choice of backend
    features.py       the interface of c to the rest of the step; dense or sparse, by density
    dense.py          c as a matrix, and its products
    sparse.py         c as active (row, feature) pairs, with their products in pair_products.py
    autograd.py       the gradients of all other architectures, from their loss by PyTorch
    pair_entries.py   selected pairs as the entries that a loss is written on
    gpu/              encode and products as Triton kernels, and the step as a CUDA graph

The loss of baseline and nsae is in train/loss.py, the losses of all other architectures in train/architectures/, the
update in train/optim/adam.py.
"""
