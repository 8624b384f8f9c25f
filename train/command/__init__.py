"""The options of `train`, from a command line, a file or Python, to the runs that they make.

options.py           each option and its type
setting_options.py   the settings of the architectures as options
per_variant.py       values that differ between variants
config.py            options from a TOML file, or from an experiment's record
defaults.py          defaults that follow `--activations`
grid.py              the runs that lists of values and presets make
checks.py            whether options fit together
"""
