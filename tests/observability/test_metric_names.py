"""The legend of metrics is complete, short, and printable."""

import re

from entropy_rl.observability.metric_names import METRICS, legend_markdown, unknown_names


def test_every_name_has_a_prefix_a_one_line_meaning_and_a_unit():
    for name, metric in METRICS.items():
        assert name == "step" or re.fullmatch(r"[a-z]+/(NAME/)?[a-z][a-z0-9_.]*(@k)?", name), name
        assert 10 < len(metric.meaning) < 100 and "\n" not in metric.meaning and metric.meaning[-1] != ".", (
            name
        )
        assert metric.unit and (not name.endswith("_fraction") or metric.unit == "fraction"), name
        assert not name.startswith("seconds/") or metric.unit == "seconds"


def test_the_markdown_table_has_a_row_a_name_with_three_cells():
    lines = legend_markdown().splitlines()
    assert len(lines) == 2 + len(METRICS)
    assert all(line.count("|") == 4 for line in lines)


def test_names_outside_the_legend_are_found():
    names = ["step", "policy/entropy", "policy/etnropy", "heldout/pass@16", "heldout/pass@"]
    names += ["validation/aime24/maj@32", "validation/aime24/max@32", "validation/mean"]
    assert unknown_names(names) == ("policy/etnropy", "heldout/pass@", "validation/aime24/max@32")
