"""Processes of the tests: forked from one with the libraries imported, killed, or started as torchrun does."""
