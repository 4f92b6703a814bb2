"""The command as it is typed: what it prints and writes, and its exit codes."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from rich.console import Console

from entropy_rl.cli import main
from entropy_rl.observability.run_record import METRICS_FILE, RunRecord
from entropy_rl.observatory.checks import CHECKS
from entropy_rl.observatory.diagnosis import diagnose
from entropy_rl.observatory.diagnosis_report import as_markdown, checks_markdown, show, summary
from tests.observatory.synthetic_runs import healthy_rows, write_run

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "diagnosis.md"


def run(*args) -> tuple[int, str]:
    """Exit code and output of the command."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()):
        with pytest.raises(SystemExit) as stop:
            main(["diagnose", *map(str, args)])
    return stop.value.code or 0, out.getvalue()


def ill(changes: dict) -> list[dict]:
    return [row | changes for row in healthy_rows()]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, 0), ({"length/truncated_fraction": 0.1}, 3), ({"length/truncated_fraction": 0.9}, 4)],
    ids=["well", "a warning", "a failure"],
)
def test_the_exit_code_tells_the_severity(tmp_path, changes, code):
    assert run(write_run(tmp_path, ill(changes)))[0] == code


def test_where_nothing_is_measured_or_there_is_no_run_the_codes_are_others(tmp_path):
    assert run(tmp_path)[0] == 2
    (tmp_path / METRICS_FILE).write_text("")
    assert run(tmp_path)[0] == 5


def test_a_threshold_is_set_on_the_command_line(tmp_path):
    folder = write_run(tmp_path, ill({"length/truncated_fraction": 0.1}))
    assert run(folder, "--thresholds.truncated-warn-fraction", "0.15")[0] == 0


def test_off_a_terminal_every_verdict_is_a_line_that_can_be_searched(tmp_path):
    _, text = run(write_run(tmp_path, ill({"length/truncated_fraction": 0.9})))
    lines = text.splitlines()
    assert lines[1].startswith("fail") and "truncation: length/truncated_fraction 0.9" in lines[1]
    assert lines[2].strip().startswith("change: a larger task.max-response-tokens")
    assert all(sum(line[24:].startswith(f"{c.name}: ") for line in lines) == 1 for c in CHECKS)
    assert "1 fail" in lines[-1] and "\x1b" not in text


def test_on_a_terminal_it_is_a_table(tmp_path):
    verdicts = diagnose(RunRecord.load(write_run(tmp_path, ill({"length/truncated_fraction": 0.9}))))
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    show(verdicts, console, "title")
    text = console.file.getvalue()
    assert "what to change" in text and "\x1b[" in text and summary(verdicts).split(",")[0] in text


def test_json_and_markdown_hold_every_verdict(tmp_path):
    folder, made = write_run(tmp_path / "ill", ill({"advantage/std": 0.01})), tmp_path / "made"
    made.mkdir()
    run(folder, "--json", made / "d.json", "--markdown", made / "d.md")
    told = json.loads((made / "d.json").read_text())
    assert told["severity"] == "fail" and told["run"] == "ill"
    assert {verdict["check"] for verdict in told["verdicts"]} == {check.name for check in CHECKS}
    assert all(verdict["reference"] and verdict["measures"] for verdict in told["verdicts"])
    text = (made / "d.md").read_text()
    assert text == as_markdown(diagnose(RunRecord.load(folder)), "ill")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(CHECKS)
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def test_without_a_policy_no_jax_is_loaded(tmp_path):
    folder = write_run(tmp_path, healthy_rows())
    program = f"""
import sys
from entropy_rl.cli import main
try:
    main(["diagnose", {str(folder)!r}])
except SystemExit as stop:
    assert stop.code == 0
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_document_lists_the_checks_there_are():
    assert checks_markdown() in DOCUMENT.read_text()
