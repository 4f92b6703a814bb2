"""Planning a run before paying for it: memory by the compiler, time by the roofline, cost in chip-hours."""
