"""Whether it is right: the schemas of each stage and the asset checks."""
