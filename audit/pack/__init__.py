"""The evidence of one batch in one file, and the script inside that verifies it without our software."""
