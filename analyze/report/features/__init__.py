"""The page of features: which are chosen, where they are active, and which tokens they raise and lower."""
