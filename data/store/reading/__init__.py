"""Parts of the reader (data/store/reader.py):

checked_arrays.py    arrays whose files are compared with their recorded checksums
shard_statistics.py  the statistics of shards, compared with the commit table
stored_truth.py      the features that activations are known to be sums of
mapped_size.py       the size of a mapped file, which must not change
unreadable.py        the error for a shard whose rows cannot be read
"""
