"""The report in headless Chromium: drawn, coloured, walked through, silent, and without any request."""

import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from entropy_rl.observability.rollout_records import write_rollouts
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.page.assembly import write_page
from entropy_rl.observatory.page.rollouts import visible
from tests.observatory.browser import Browser, chromium_path
from tests.observatory.page_runs import HOSTILE, rollout, write_recorded_run

TOKENS = "[...document.querySelectorAll('.token:not(.scale-key .token)')]"
COLOURS = f"{TOKENS}.map(token => getComputedStyle(token).backgroundColor)"
LEGEND = "document.querySelector('#scale').innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = chromium_path()
    if path is None:
        pytest.skip("there is neither chromium nor google-chrome, and CHROMIUM names none")
    with Browser(path, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The address of a report whose run has everything; at step 20 its responses are hostile too."""
    folder = write_recorded_run(tmp_path_factory.mktemp("page") / "run")
    hostile = [rollout(20, list(HOSTILE), prompt=text, sample=n) for n, text in enumerate(HOSTILE)]
    write_rollouts(folder, 20, hostile)
    return write_page(RunRecord.load(folder), folder / "report.html").as_uri()


def colour_numbers(colour: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", colour)[:3]]


def assert_silent(browser: Browser, page: str) -> None:
    assert browser.errors == [] and [address.partition("#")[0] for address in browser.requests] == [page]


def test_all_curves_and_tokens_are_there_and_the_page_is_silent(browser, page):
    browser.open(page)
    drawn = browser.run(
        "[...document.querySelectorAll('figure.chart')].map(figure => [figure.dataset.chart, "
        "figure.querySelectorAll('path.line, canvas, circle.dot').length])"
    )
    assert len(drawn) > 20 and all(count > 0 for _, count in drawn), drawn
    assert browser.run(f"{TOKENS}.map(token => token.textContent)") == [
        *("3", "+", "4", "<stop>"),
        *("3", "-", "4", "\u23ce", "!"),
    ]
    assert_silent(browser, page)


def test_the_address_chooses_the_step_and_what_colours_mean(browser, page):
    seen = {}
    for colour in ("entropy", "covariance"):
        for step in (10, 40):
            browser.open(f"{page}#colour={colour}&step={step}")
            assert browser.run("document.querySelector('#step-number').textContent") == str(step)
            assert browser.run(f"document.querySelector('input[value={colour}]').checked")
            seen[colour, step] = browser.run(COLOURS)[:4], browser.run(LEGEND)
            assert_silent(browser, page)
    # Entropies of the made-up run are the smaller the later the step, its covariances are always the same.
    assert seen["entropy", 10][0] != seen["entropy", 40][0]
    assert seen["covariance", 10][0] == seen["covariance", 40][0] != seen["entropy", 10][0]
    assert seen["entropy", 10][1] == seen["entropy", 40][1] != seen["covariance", 10][1]
    darkness = [sum(colour_numbers(colour)) for colour in seen["entropy", 10][0]]
    assert darkness == sorted(darkness) and len(set(darkness)) == 4  # the first token has the most entropy


def test_an_address_that_makes_no_sense_is_taken_as_none(browser, page):
    for hash_of_none in ("#colour=red&step=99999", "#step=x&which=", "#__proto__=1&colour=<b>"):
        browser.open(page + hash_of_none)
        assert browser.run("document.querySelector('#step-number').textContent") == "40"
        assert browser.run("STATE.colour") == "entropy"
        assert_silent(browser, page)


def test_selected_tokens_are_outlined_and_no_others(browser, page):
    browser.open(f"{page}#step=40")
    widths = browser.run(f"{TOKENS}.map(token => getComputedStyle(token).outlineStyle)")
    assert widths == ["none", "solid", "none", "none", "none", "solid", "none", "none", "none"]


def test_short_responses_stand_side_by_side_and_long_ones_below_each_other(browser, page):
    lefts = (
        "[...document.querySelectorAll('.responses > li')].slice(0, 2).map(c => c.getBoundingClientRect().x)"
    )
    for step, are_beside in ((40, True), (20, False)):  # hostile prompts of step 20 are longer
        browser.open(f"{page}#step={step}")
        left, right = browser.run(lefts)
        assert (right > left) == are_beside


def test_letters_can_be_read_on_every_colour_in_both_schemes(browser, page):
    for dark in (False, True):
        browser.open(page, dark=dark)
        for ramp in ("entropy", "covariance"):
            pairs = browser.run(
                f"Array.from({{length: 41}}, (_, n) => colourAt('{ramp}', n / 40)).map(c => [c, inkOn(c)])"
            )
            for colour, ink in pairs:
                channels = np.array(colour) / 255
                linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
                light = float(linear @ [0.2126, 0.7152, 0.0722])
                contrast = (light + 0.05) / 0.05 if ink == "#000000" else 1.05 / (light + 0.05)
                assert contrast >= 4.5, (ramp, dark, colour)  # WCAG 2.1, level AA


def test_controls_work_by_mouse_and_keyboard_and_stay_in_the_address(browser, page):
    browser.open(page)
    browser.run("document.querySelector('input[value=covariance]').click()")
    browser.run("document.querySelector('#earlier').click()")
    assert browser.run("location.hash") == "#colour=covariance&step=30&which=all"
    browser.run("document.querySelector('#step').focus()")
    browser.press("Home")
    assert browser.run("location.hash").startswith("#colour=covariance&step=10")
    assert browser.run("document.querySelector('#earlier').disabled")
    browser.run("document.querySelector('input[value=wrong]').click()")
    assert browser.run("document.querySelector('.tokens').textContent") == "3-4\u23ce\n!"
    assert browser.run("document.querySelector('.response-head').innerText").startswith("\u2715 wrong")
    assert_silent(browser, page)


def test_pointing_at_a_token_or_walking_to_it_tells_its_numbers(browser, page):
    browser.open(f"{page}#step=10")
    facts = "document.querySelector('#token-facts').innerText.replace(/\\s+/g, ' ')"
    browser.run(f"{TOKENS}[1].scrollIntoView({{block: 'center'}})")
    box = browser.run(f"{TOKENS}[1].getBoundingClientRect().toJSON()")
    browser.move_to(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = browser.run(facts)
    for part in ('"+" (id 1, 2 of 4)', "entropy 0.1 nats", "logp \u22120.5 (p = 0.607)"):
        assert part in told
    assert "covariance \u22120.75 nats" in told and "treated apart" in told
    browser.run("document.querySelector('.tokens').focus()")
    browser.press("End")
    assert '"<stop>" (id 3, 4 of 4)' in browser.run(facts)
    browser.press("ArrowLeft")
    assert '"4" (id 2, 3 of 4)' in browser.run(facts) and "treated apart" not in browser.run(facts)
    assert '"4" (id 2, 3 of 4)' in browser.run("document.querySelector('#spoken').textContent")


def test_a_step_pointed_at_is_told_by_all_curves(browser, page):
    browser.open(page)
    told = "[...document.querySelectorAll('.key .when')].map(element => element.textContent)"
    browser.run("document.querySelector('[data-chart=entropy] svg[tabindex]').focus()")
    browser.press("ArrowLeft")
    browser.press("Home")
    assert browser.run("document.querySelector('[data-chart=entropy] .when').textContent") == "step 1"
    everywhere = browser.run(told)
    # Held-out numbers and the theory are of every fifth step.
    assert set(everywhere) == {"step 1", "step 5"}
    assert "mean over tokens 0.928" in browser.run("document.querySelector('#spoken').textContent")
    browser.run("document.activeElement.blur()")
    assert not any(text.startswith("step ") for text in browser.run(told))


def test_a_click_on_a_curve_shows_the_rollouts_nearest_to_it(browser, page):
    browser.open(page)
    browser.run(
        "const svg = document.querySelector('[data-chart=entropy] svg[tabindex]'); "
        "const box = svg.getBoundingClientRect(); "
        "svg.dispatchEvent(new MouseEvent('click', {clientX: box.x + box.width * 0.33}))"
    )
    assert browser.run("STATE.step") == 10
    assert browser.run("document.querySelector('#rollouts').getBoundingClientRect().top") < 900


def test_hostile_texts_are_only_texts(browser, page):
    browser.open(f"{page}#step=20")
    assert browser.run("document.querySelectorAll('.responses > li').length") == len(HOSTILE)
    assert browser.run("document.querySelector('.tokens').textContent") == "".join(map(visible, HOSTILE))
    shown = browser.run("[...document.querySelectorAll('.prompt')].map(element => element.textContent)")
    assert shown == [visible(text) for text in HOSTILE]
    assert browser.run("window.hacked === undefined && !document.querySelector('main img')")
    assert_silent(browser, page)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_window_and_is_not_blank(browser, page, tmp_path: Path, width: int, dark: bool):
    browser.open(f"{page}#step=10", width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    for name in ("entropy", "rollouts"):
        browser.run(f"document.getElementById('{name}').scrollIntoView()")
        pixels = matplotlib.image.imread(browser.picture(tmp_path / "seen.png"))[..., :3]
        assert pixels.shape[:2] == (900, width)
        num_colours = len(np.unique((pixels * 15).round() @ [256, 16, 1]))
        assert num_colours > 40, name
        ground = np.median(pixels[..., 1])
        assert ground < 0.2 if dark else ground > 0.9
    assert_silent(browser, page)


def test_without_its_script_the_page_says_so(browser, page, tmp_path):
    # A script that is not the one named by its hash does not run.
    text = Path(page.removeprefix("file://")).read_text().replace("readHash();\ndrawCharts();", "hacked = 1;")
    (tmp_path / "changed.html").write_text(text)
    browser.open((tmp_path / "changed.html").as_uri())
    assert browser.run("typeof hacked") == "undefined" and "Content Security Policy" in browser.errors[0]
