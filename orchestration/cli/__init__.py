"""The command line `bulk-orders`, one module per command."""
