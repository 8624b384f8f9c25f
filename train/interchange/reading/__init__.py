"""Read files that strangers wrote: no code of theirs runs, and every fault is an InputError that names the file.

pickled.py         what a pickle says, without unpickling it
torch_archive.py   the tensors of a file that torch.save wrote
array_files.py     the tensors of .npz and .safetensors files, and JSON objects
"""
