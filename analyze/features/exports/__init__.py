"""The features of SAEs as other tools read them: a file per format, and the registry of them."""
