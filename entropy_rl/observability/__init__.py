"""What a run leaves behind, and how it is looked at: files, plots, progress. Knows nothing of jax.

`run_folder` writes a run's folder, `run_record` reads one, `metric_names` is the legend of its numbers,
`plots` draws it and `progress` shows it while it runs. This file imports nothing, so that one part can be
had without loading the others.
"""
