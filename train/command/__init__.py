"""The options of `train`, from a command line, a file or Python, to the runs that they make.

options.py           each option and its type
settings.py          the settings of the architectures, with their types
setting_options.py   options for them, also for those of other packages
per_variant.py       values that differ between variants
config.py            read a TOML file, or an experiment's record
file_options.py      convert what it holds to values of options
settle.py            which values hold where the command line and the file have some
defaults.py          defaults that follow `--activations`
grid.py              the runs that lists of values and presets make
effects.py           which options have no effect
checks.py            whether options fit together
target_notes.py      what is said of a training that is too short for its target L0
"""
