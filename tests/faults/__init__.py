"""Faults on purpose: kills, torn writes, full disks, lost rights, flipped bits, two writers, hostile files.

    python -m tests.faults                 a few of each
    python -m tests.faults --full          as many as docs/reliability.md has figures of

Trials run the real commands. A process that has imported what they need forks once a trial, so that a trial takes a
second rather than ten; `fault.c` counts the calls that change files and kills at the n-th.
"""
