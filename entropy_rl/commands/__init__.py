"""The commands of the command line, a module each: its dataclass says what it takes, `run` what it does."""
