"""Speed, as ratios within one run. Run with `make bench`; nothing here is a test."""
