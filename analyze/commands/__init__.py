"""The commands of the group `analyze`, by what they need: a store, runs, or the language model too."""
