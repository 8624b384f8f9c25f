"""Publish runs on the Hugging Face hub: `train push`.

content.py   the files of a run that are pushed
measures.py  the measures that the card shows, from a report or from training
card.py      the model card, README.md
upload.py    write the files to a repository, in one commit
push.py      all of it
command.py   the command line
"""
