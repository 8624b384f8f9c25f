"""Reading of the pages and files that `analyze` writes: with a browser, and by their schemas."""
