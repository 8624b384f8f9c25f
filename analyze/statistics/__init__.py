"""Estimates with bootstrap intervals, and regressions over layers."""
