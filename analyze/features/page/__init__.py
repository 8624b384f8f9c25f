"""The page of features: an index that opens offline, and the features' details in files beside it."""
