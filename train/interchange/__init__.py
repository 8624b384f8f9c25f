"""SAEs in the formats of other libraries: `train export` and `train import`.

portable.py     a single SAE as a function of raw activations: what every format is converted from
origin.py       what the SAE was trained on, for the formats' metadata
FORMAT.py       one file per format: saelens, dictionary_learning, sparsify, saebench, plain (safetensors)
registry.py     the formats by name
export.py       write the SAEs of a run in a format
command.py      the command lines
modules/        Python files that an export lays beside the weights; they import the other library, not this project
"""
