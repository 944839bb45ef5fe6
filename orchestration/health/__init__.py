"""The watch: what is measured, when it is looked at, who is told, and how the Dagster UI shows it."""
