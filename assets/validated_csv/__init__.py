"""The stage `validated_csv`: a file becomes accepted and rejected rows."""
