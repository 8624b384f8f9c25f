"""The pages of a report, one file per page and per section of a page."""
