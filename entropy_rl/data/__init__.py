"""Prompts: where they come from, how they become token ids, and the tasks that reward their answers."""
