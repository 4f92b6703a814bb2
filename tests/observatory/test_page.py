"""The report as text: inert whatever a policy writes, complete, light, honest about what is missing."""

import base64
import dataclasses
import hashlib
import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from entropy_rl.cli import main
from entropy_rl.observability.metric_names import metric_of
from entropy_rl.observability.rollout_records import write_rollouts
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.diagnosis import Outcome, diagnose
from entropy_rl.observatory.page.assembly import FOLDER, MAX_TOKENS, page_of
from entropy_rl.observatory.page.facts import in_words, status, tiles
from entropy_rl.observatory.page.findings import theory_view
from entropy_rl.observatory.page.rollouts import rollouts_data, visible
from entropy_rl.observatory.page.sections import SECTIONS
from entropy_rl.observatory.probes import Probes
from tests.observatory.page_runs import (
    CONFIG,
    HOSTILE,
    collapsing_rows,
    rollout,
    write_recorded_run,
    write_run,
)

CHARTS = [chart for section in SECTIONS for chart in section.charts]


class Outline(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.insides: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag in self.insides:
            self.insides[tag].append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in self.insides:
            self.insides[self._inside][-1] += data
        else:
            self.words.append(data)

    def names(self) -> list[str]:
        return [tag for tag, _ in self.tags]


def data_of(page: str) -> dict:
    """What the page's scripts read."""
    return json.loads(Outline(page).insides["script"][0])


def rendered(folder: Path, **options) -> str:
    return page_of(RunRecord.load(folder), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    return rendered(write_recorded_run(tmp_path_factory.mktemp("whole") / "run"))


def test_a_page_of_hostile_texts_has_the_elements_of_a_page_of_tame_ones(tmp_path):
    def page(name: str, texts: list[str]) -> Outline:
        config = CONFIG | {"task": {"kind": texts[0], "name": texts[-1]}}
        folder = write_run(tmp_path / name, collapsing_rows(10), config)
        write_rollouts(folder, 10, [rollout(10, texts, prompt=text) for text in texts])
        return Outline(rendered(folder))

    tame, hostile = page("tame", ["3"] * len(HOSTILE)), page("<img src=x>&", list(HOSTILE))
    assert tame.names() == hostile.names()
    assert [attrs.keys() for _, attrs in tame.tags] == [attrs.keys() for _, attrs in hostile.tags]
    assert len(hostile.insides["script"]) == 2 and "<img src=x>&" in "".join(hostile.words)


def test_hostile_texts_arrive_whole_as_data(tmp_path):
    folder = write_run(tmp_path / "run", collapsing_rows(10))
    write_rollouts(folder, 10, [rollout(10, list(HOSTILE), prompt=text) for text in HOSTILE])
    page = rendered(folder)
    raw = Outline(page).insides["script"][0]
    assert raw.isascii() and not set("<>&") & set(raw)
    data = json.loads(raw)["rollouts"]
    assert [text for _, text in data["tokens"]] == [visible(text) for text in HOSTILE]
    prompts = [response["prompt"] for response in data["steps"][0]["responses"]]
    assert prompts == [visible(text) for text in HOSTILE]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", "plain <b>"),
        ("a\nb\tc", "a\u23ce\nb\u21e5c"),
        ("\u202eevil\u2028\x00", "[U+202E]evil[U+2028][U+0000]"),
        ("\ud800", "[U+D800]"),
        ("\u05d0\u4e2d\U0001f468\u200d\U0001f469", "\u05d0\u4e2d\U0001f468\u200d\U0001f469"),
    ],
)
def test_what_cannot_be_seen_is_named(text, shown):
    assert visible(text) == shown
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF") for c in visible(text))


def test_the_policy_of_the_page_admits_its_own_script_and_style_and_no_network(whole):
    outline = Outline(whole)
    policy = next(a["content"] for t, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def hash_of(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": hash_of(outline.insides["script"][1]),
        "style-src": hash_of(outline.insides["style"][0]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    addresses = [
        a[name] for _, a in outline.tags for name in ("src", "href", "action", "srcset") if name in a
    ]
    assert addresses and all(address.startswith("#") for address in addresses)
    assert not any(name.startswith("on") or name == "style" for _, attrs in outline.tags for name in attrs)


def test_a_run_with_every_metric_has_every_chart_and_nothing_is_missing(whole):
    drawn = {attrs["data-chart"] for tag, attrs in Outline(whole).tags if "data-chart" in attrs}
    assert (
        drawn
        == {chart.key for chart in CHARTS} | {"law", "law-residuals", "theory-dots"}
        == set(data_of(whole)["charts"])
    )
    assert not re.search("not (recorded|fitted)", whole, re.IGNORECASE)


def test_what_a_run_lacks_is_said_with_the_reason(tmp_path):
    rows = [{"step": step, "policy/entropy": 1.0} for step in range(1, 4)]
    page = rendered(write_run(tmp_path / "bare", rows, config=None))
    text = " ".join(" ".join(Outline(page).words).split())
    drawn = {attrs["data-chart"] for _, attrs in Outline(page).tags if "data-chart" in attrs}
    assert drawn == {"entropy"}
    for chart in CHARTS:
        assert (f"{chart.title}: not recorded, {chart.absent}" in text) == (chart.key != "entropy"), chart.key
    assert "Not fitted: the law needs" in text and "Not recorded: the folder has no rollouts" in text


def test_a_run_without_a_step_has_a_page(tmp_path):
    assert "0 of 40 steps" in rendered(write_run(tmp_path / "young", []))


def test_all_that_is_drawn_is_in_the_legend():
    metrics = [name for chart in CHARTS for name in chart.rows]
    metrics += [line.metric for chart in CHARTS for line in chart.lines]
    metrics += [name for chart in CHARTS for band in chart.bands for name in (band.low, band.high)]
    assert [name for name in metrics if metric_of(name) is None] == []
    keys = [chart.key for chart in CHARTS]
    assert len(set(keys)) == len(keys)


def test_all_colours_of_charts_are_in_the_style():
    colours = {part.colour for chart in CHARTS for part in (*chart.lines, *chart.bands)}
    light, dark = re.findall(r":root \{(.*?)\}", (FOLDER / "style.css").read_text(), flags=re.DOTALL)
    for scheme in (light, dark):
        assert {name for name in colours if f"--{name}:" not in scheme} == set()


def test_every_verdict_stands_in_the_page_with_evidence_and_advice(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "run", collapsing_rows(60)))
    words, verdicts = Outline(page_of(run)).words, diagnose(run)
    assert {verdict.outcome for verdict in verdicts} >= {Outcome.WARN, Outcome.OK, Outcome.NOT_MEASURABLE}
    for verdict in verdicts:
        assert {verdict.check, verdict.evidence} <= set(words)
        assert verdict.advice == "" or verdict.advice in words


def test_what_a_look_at_the_policy_told_is_judged_in_the_page(tmp_path):
    folder = write_run(tmp_path / "run", collapsing_rows(10))
    evidence = [
        verdict.evidence
        for verdict in diagnose(RunRecord.load(folder), probes=Probes(entropy_bonus_change_nats=-0.123))
        if "-0.123" in verdict.evidence
    ]
    assert len(evidence) == 1 and evidence[0] not in Outline(rendered(folder)).words
    page = rendered(folder, probes=Probes(entropy_bonus_change_nats=-0.123))
    assert evidence[0] in Outline(page).words


def test_the_law_is_in_the_page_with_its_picture(whole):
    law = data_of(whole)["charts"]["law"]
    # The made-up run is R = 0.8 - 0.25 exp(H): its ceiling is 0.55.
    assert law["yTitle"] == "heldout/accuracy" or law["level"]["value"] == pytest.approx(0.55, abs=0.03)
    assert len(law["xs"]) == len(law["ys"]) == len(law["steps"]) > 7
    assert law["curve"]["xs"][0] == 0
    assert law["curve"]["ys"][0] == pytest.approx(law["level"]["value"], abs=1e-3)


def test_the_theory_is_told_by_its_correlation_with_what_was_measured():
    # Lemma 1 is right up to a factor; Theorem 1 falls as the entropy does; Theorem 2 goes the other way.
    falls = [0.3, 0.2, 0.1]
    rows = tuple(
        {
            "step": n,
            "theory/entropy_change": -fall,
            "theory/lemma1": -2 * fall,
            "theory/theorem1_covariance": fall,
            "theory/theorem2_covariance": -fall,
        }
        for n, fall in enumerate(falls)
    )
    run = RunRecord(path=Path("run"), name="run", config={}, rows=rows)
    view = theory_view(run)
    assert view.note == (
        "Correlation with the measured fall over 3 steps: Lemma 1 1.00, Theorem 1 1.00, Theorem 2 -1.00."
    )
    picture = view.charts["theory-dots"]
    assert picture["ys"] == falls and picture["xs"] == [0.6, 0.4, 0.2]
    assert picture["curve"] == {"xs": [0.1, 0.6], "ys": [0.1, 0.6]}
    assert theory_view(dataclasses.replace(run, rows=rows[:2])) is None


def test_of_too_many_recorded_steps_the_ends_and_an_even_choice_remain(tmp_path):
    folder = write_run(tmp_path / "run", collapsing_rows(3))
    for step in range(1, 12):
        write_rollouts(folder, step, [rollout(step, ["1"] * 7), rollout(step, ["2"] * 7, sample=1)])
    data = rollouts_data(folder, 5 * 14)
    assert [entry["step"] for entry in data["steps"]] == [1, 3, 6, 9, 11]
    assert "10 of 22 recorded responses, of 5 of 11 recorded steps" in rendered(folder, max_tokens=5 * 14)
    data = rollouts_data(folder, 3)  # not even the ends: one response each remains
    assert [(entry["step"], len(entry["responses"])) for entry in data["steps"]] == [(1, 1), (11, 1)]
    everything = rollouts_data(folder, 10**6)
    assert [len(entry["responses"]) for entry in everything["steps"]] == [2] * 11


def test_tokens_come_with_their_numbers_and_the_selected_ones(tmp_path):
    folder = write_run(tmp_path / "run", collapsing_rows(3))
    record = rollout(2, ["a", "b", "a"], covariance=[1.0, None, -0.5], selected=[True, False, True])
    write_rollouts(folder, 2, [dataclasses.replace(record, token_ids=[5, 6, 5])])
    data = rollouts_data(folder, 100)
    (response,) = data["steps"][0]["responses"]
    assert data["tokens"] == [[5, "a"], [6, "b"]] and response["tokens"] == [0, 1, 0]
    assert response["covariance"] == [1, None, -0.5] and response["selected"] == [0, 2]
    assert response["entropy"] == [1, 0.5, 0.333] and response["logp"] == [-1, -0.5, -0.333]
    assert data["scales"]["covariance"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("selects", [False, True])
def test_outlines_are_explained_where_there_are_any(tmp_path, selects):
    folder = write_run(tmp_path / "run", collapsing_rows(3))
    write_rollouts(folder, 2, [rollout(2, ["a", "b"], selected=[selects, False])])
    assert rollouts_data(folder, 100)["selects"] == selects
    assert ("outlined" in Outline(rendered(folder)).words) == selects


def test_a_page_of_200_steps_and_all_the_tokens_it_may_have_is_below_three_megabytes(tmp_path):
    folder = write_run(tmp_path / "run", collapsing_rows(200))
    without = len(rendered(folder))
    rng = np.random.default_rng(0)
    for step in (100, 200):
        ids = rng.integers(0, 1000, (8, 199)).tolist()
        records = [rollout(step, [f"word {n}" for n in row], token_ids=row, sample=row[0]) for row in ids]
        write_rollouts(folder, step, records)
    bytes_per_token = (len(rendered(folder)) - without) / (2 * 8 * 199)
    assert 15 < bytes_per_token < 40 and without < 1_000_000
    assert without + MAX_TOKENS * bytes_per_token < 3_000_000


def test_settings_are_told_in_a_line():
    setting = {"kind": "KLCov", "fraction": 0.05, "penalty_coef": 4.0, "scope": {"kind": "X"}, "none": None}
    assert in_words(setting) == "KLCov(fraction=0.05, penalty_coef=4)"
    assert in_words({"kind": "Many"} | dict.fromkeys("abcde", True)) == (
        "Many(a=True, b=True, c=True, d=True, ...)"
    )


def test_the_head_tells_how_far_a_run_is_and_where_its_numbers_went(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "run", collapsing_rows(7)))
    assert status(run).startswith("7 of 40 steps, no summary yet")
    (run.path / "summary.json").write_text("{}")
    assert status(run) == "7 of 40 steps, ended"
    by_title = {tile.title: tile for tile in tiles(run)}
    assert by_title["Entropy, nats"].first == "0.651" and by_title["Entropy, nats"].last == "0.0498"
    assert by_title["Held-out pass@8"].first == ""  # measured once, at step 5


def test_the_command_writes_one_file_beside_the_run_or_where_it_is_told(tmp_path, capsys):
    folder = write_run(tmp_path / "run", collapsing_rows(10))
    main(["report", str(folder)])
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    main(["report", str(folder), "--output", str(tmp_path / "new" / "page.html"), "--max-tokens", "100"])
    assert (tmp_path / "new" / "page.html").read_bytes() == (folder / "report.html").read_bytes()


def test_the_command_refuses_a_folder_without_a_run_and_a_page_without_tokens(tmp_path, capsys):
    folder = write_run(tmp_path / "run", collapsing_rows(10))
    for wrong, told in (
        ([str(tmp_path)], "metrics.jsonl"),
        ([str(folder), "--max-tokens", "0"], "--max-tokens"),
    ):
        with pytest.raises(SystemExit):
            main(["report", *wrong])
        assert told in capsys.readouterr().err
    assert not (folder / "report.html").exists()
