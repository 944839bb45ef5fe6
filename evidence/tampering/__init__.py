"""Does a trail that was tampered with ever pass, and does an honest one ever fail? Thousands of each, judged."""
