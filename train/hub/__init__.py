"""Read from the Hugging Face hub.

address.py   addresses such as hf://user/repo/folder@revision
fetch.py     fetch files into the hub's cache
errors.py    the hub's errors as sentences

Only address.py can be imported without huggingface_hub, which training does not need.
"""
