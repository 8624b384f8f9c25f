"""Fault injection: kills, torn writes, full disks, lost rights, flipped bits, two writers, hostile files.

    python -m tests.faults                 a few trials of each kind
    python -m tests.faults --full          the number of trials that docs/reliability.md reports

A trial runs a real command, disturbs it once or several times, runs it to its end and compares all files with those of
an undisturbed run. A warm process forks once per trial (tests/helpers/processes/zygote.py), so a trial takes one second
rather than ten. `fault.c` counts the calls that change files and kills the command at the n-th.
"""
