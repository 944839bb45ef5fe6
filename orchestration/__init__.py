"""When and with what: definitions, jobs, sensors, settings, the command line. Start reading in definitions.py."""
