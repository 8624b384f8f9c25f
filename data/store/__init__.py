"""The activation store on disk: its layout, schema, statistics, reader, writer and verification (FORMAT.md)."""
