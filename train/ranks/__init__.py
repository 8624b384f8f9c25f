"""The processes that train one experiment together, and the messages that they exchange between steps.

    protocol.py   the processes as one of them sees them, and the only process
    group.py      one of several, and how they connect
    notes.py      why a rank ended, and which rank is missing

torchrun starts and numbers them. Each trains its own SAEs (loop/share.py). Rank 0 alone writes the experiment's files
and decides when all stop or save.
"""
