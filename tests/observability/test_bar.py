"""A bar: lines every few seconds where nobody watches, one moving line on a terminal."""

import io

import pytest
from rich.console import Console

from entropy_rl.observability import bar as bar_module
from entropy_rl.observability.bar import Bar


@pytest.fixture
def time(monkeypatch):
    """What the clock reads, in a list of one, to be changed."""
    now = [50.0]
    monkeypatch.setattr(bar_module.time, "monotonic", lambda: now[0])
    return now


def make_bar(*, terminal: bool) -> tuple[Bar, io.StringIO]:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, _environ={})
    return Bar("warm start", total=7, console=console, seconds_between_lines=10.0), output


def test_off_a_terminal_the_first_the_last_and_a_line_every_few_seconds_are_printed(time):
    bar, output = make_bar(terminal=False)
    with bar:
        for done in range(1, 8):
            bar.update(done, f"loss 0.{done}")
            time[0] += 4.0
    # Updates come at 0, 4, ... 24 seconds: lines are due at 0, 12 (the first over 10) and 24, the last.
    expected = [f"warm start {done}/7 loss 0.{done}" for done in (1, 4, 7)]
    assert output.getvalue().splitlines() == expected


def test_text_with_brackets_is_printed_as_it_is(time):
    bar, output = make_bar(terminal=False)
    with bar:
        bar.update(1, "[red]loss[/red]")
    assert output.getvalue() == "warm start 1/7 [red]loss[/red]\n"


def test_on_a_terminal_one_line_moves_and_ends_at_the_total(time):
    bar, output = make_bar(terminal=True)
    with bar:
        for done in range(1, 8):
            bar.update(done, f"loss 0.{done}")
    assert "7/7 loss 0.7" in output.getvalue()
    assert output.getvalue().count("\n") <= 2 and "\x1b[2K" in output.getvalue()  # rewritten in place


def test_an_error_inside_gives_the_terminal_back(time):
    bar, output = make_bar(terminal=True)
    with pytest.raises(RuntimeError), bar:
        bar.update(3)
        raise RuntimeError
    assert output.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again
