"""SAEs in the formats of other libraries: `train export` and `train import`.

portable.py     a single SAE as a function of raw activations: what every format is converted from
origin.py       what the SAE was trained on, for the formats' metadata
formats/        one file per format, and registry.py, the formats by name
reading/        strangers' files, read without running code
export.py       write the SAEs of a run in a format
import_run.py   SAEs of other libraries as the folder of a run
foreign.py      a single SAE of another library in our tensors: what every format is converted to
hub.py          fetch SAEs by name from the Hugging Face hub
explained.py    whether imported weights fit the store
heldout.py      the held-out measures of an imported run
command.py      the command lines
modules/        Python files that an export lays beside the weights; they import the other library, not this project
"""
