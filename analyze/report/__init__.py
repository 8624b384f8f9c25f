"""The report: tables, HTML pages, figures, and pages of features."""
