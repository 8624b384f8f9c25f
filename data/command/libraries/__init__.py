"""Other libraries: where they keep caches, which extra installs them, and whether the Hugging Face hub is reachable."""
