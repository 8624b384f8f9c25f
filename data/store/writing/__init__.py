"""Writing a store: created empty, filled window by window, finished; or written whole from a source of rows."""
