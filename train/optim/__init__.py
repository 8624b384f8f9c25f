"""The optimiser, the schedules of its rates, and the resampling of dead features."""
