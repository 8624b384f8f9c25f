"""SAEs of the tests: small ones of every architecture, reference cases of other libraries, damaged files, and steps."""
