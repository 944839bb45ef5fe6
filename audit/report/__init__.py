"""The readable report of an evidence pack: one HTML page in Japanese and English that needs nothing but a browser."""
