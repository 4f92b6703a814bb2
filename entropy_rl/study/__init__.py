"""Methods beside each other: tuned alike on development seeds and problems, then measured on fresh ones."""

from entropy_rl.study.design import Method, Setting, Stage, Study

__all__ = ["Method", "Setting", "Stage", "Study"]
