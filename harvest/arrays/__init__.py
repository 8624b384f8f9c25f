"""Activations in files: `harvest --activations`, and `analyze export`.

array.py        an array of which parts are read, and several that follow one another
formats.py      arrays of .npy, .safetensors and .zarr
cached.py       datasets in Arrow's format, as SAELens caches activations: read
export.py       the same, written from a store
find.py         the arrays at a path, by hook
contexts.py     which rows are a context, and which contexts are held out
source.py       arrays as contexts, in the order of the store
fingerprint.py  which files they are
prepare.py      options → ArrayHarvest
run.py          ArrayHarvest: create the store, fill its windows, finish
api.py          the Python function
"""
