"""Stage one: run the language model once and keep its activations in a store (data/). See `harvest --help`."""
