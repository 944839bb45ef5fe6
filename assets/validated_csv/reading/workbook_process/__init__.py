"""The process that reads a workbook for ``reading/workbook``: limits of memory and time, no key, no environment."""
