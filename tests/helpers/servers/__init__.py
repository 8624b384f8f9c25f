"""Servers on loopback that answer as the Hugging Face hub and as an S3 object store do."""
