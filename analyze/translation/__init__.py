"""Measures as other libraries compute them, for comparison with published figures."""
