"""A sandbox for untrusted Python programs. Linux only; nothing here is imported where no code is judged."""
