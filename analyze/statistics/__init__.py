"""Estimates with bootstrap intervals."""
