"""Adam for stacked SAEs, the schedules of its rates and of resampling, and the counts of firing features."""
