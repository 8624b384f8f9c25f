"""Reports: `write_report` in write.py writes one, from its data, its page, its figures and the page of features."""
