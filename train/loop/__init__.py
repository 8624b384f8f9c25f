"""The training loop, and the work beside its steps:

    memory_plan.py    which SAEs are stepped together, and the rows per block
    memory_needs.py   how many bytes that takes, and whether the machine has them
    share.py          which of them each rank trains, under torchrun
    following.py      training in the order of the store's windows: its statistics, and the rows that it may take
    feed.py           the rows of a store that is still harvested: which exist, and which are needed no more
    rank_writer.py    what ranks other than 0 have in place of the writer
    tune_density.py   at which density a sparse step is faster on this GPU
    build.py          the stacks at their start, and the noise
    trainer.py        the loop: batches to all stacks, and the tasks between two steps
    meeting.py        what the ranks report between two steps, and what rank 0 decides for all
    evaluate.py       validation on the held-out split
    resample.py       the restart of dead features
    calibrate.py      thresholds at inference, after the last step

train/step has the step itself.
"""
