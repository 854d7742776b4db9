"""The page in a real Chromium: what it shows, by mouse and by keys, and that nothing a model wrote is ever run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from areal_mesh.runtime.settings import RunSettings
from tests.integration.browser import Browser, needs_chromium, open_browser
from tests.integration.hostile_rollouts import SCRIPTED
from tests.integration.page_process import served, write_metrics, write_run
from tests.unit.rollout_logs import Answer, begin_run, group_of, open_log, store

pytestmark = needs_chromium
MOST_BYTES = 400_000
ANSWERS = (
    Answer("So $x = \\frac{1}{2}$, and $$y = \\sum_{i=1}^{n} i$$ \\boxed{2}", True, extracted="2"),
    Answer("No idea", rule="no answer", truncated=True),
)
DRAWN = "document.querySelectorAll('.chart canvas').length"
LISTED = "document.querySelectorAll('ol.rollouts a').length"
JUDGED = "document.querySelectorAll('ol.text li').length > 1"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with open_browser(tmp_path / "browser") as browser:
        yield browser


async def hostile_run(folder: Path) -> RunSettings:
    """A run whose rollouts have the scripts as responses, problems, sources, rules, references and answers."""
    settings = begin_run(folder)
    write_metrics(settings, 2)
    buffer = open_log(settings)
    for number, text in enumerate(SCRIPTED):
        answer = Answer(text, rule=text[:100], extracted=text)
        await store(buffer, group_of(settings, number, text, [text], [answer], text[:100]))
    buffer.close()
    return settings


async def test_nothing_that_a_model_wrote_is_run(browser: Browser, tmp_path: Path) -> None:
    assert len(SCRIPTED) == 20
    settings = await hostile_run(tmp_path)
    async with served(str(settings.run_directory)) as address:
        await browser.open(f"{address}#rollouts")
        await browser.until(f"{LISTED} === 20")
        await look_for_traces(browser, address)
        for number, text in enumerate(SCRIPTED):
            await browser.open(f"{address}#rollout?id=g{number:08d}.0")
            await browser.until(JUDGED)
            await look_for_traces(browser, address)
            for form, there in (
                ("Tokens", "document.querySelector('.tokens')"),
                ("Source", "location.hash.includes('source')"),
            ):
                await browser.value(
                    f"[...document.querySelectorAll('h2 button')].find(b => b.innerText === '{form}').click()"
                )
                await browser.until(f"Boolean({there}) && {JUDGED}")
                await look_for_traces(browser, address)
            shown = await browser.value("document.querySelector('.columns').textContent")
            assert text in shown.replace("\r", ""), "shown as it was written"
        # What holds even if a text should ever be taken for markup.
        refused = await browser.value(
            "try { document.body.innerHTML = '<b>x</b>'; 'set' } catch (error) { error.name }"
        )
        assert refused == "TypeError"


async def look_for_traces(browser: Browser, address: str) -> None:
    assert await browser.value("[window.ran, document.title]") == [None, "AReaL Mesh"]
    made = (
        "script, img, iframe, object, embed, form:not([role=search]), style, base, meta, link, template, #lure, "
        "a[href^=java]"
    )
    assert await browser.value(f"document.querySelector('main').querySelectorAll('{made}').length") == 0
    strange = [url for url in browser.requests if not url.startswith((address, "about:", "data:")) or "/ran" in url]
    assert not strange
    assert not [line for line in browser.console if "dialog" in line]


async def test_the_page_is_small_and_loads_nothing_from_elsewhere(browser: Browser, tmp_path: Path) -> None:
    settings = await write_run(tmp_path, ANSWERS)
    async with served(str(settings.run_directory)) as address:
        await browser.open(address)
        await browser.until(DRAWN)
        drawn = await browser.value("performance.now()")
        await browser.open(f"{address}#rollout?id=g00000001.0")
        await browser.until(JUDGED)
        assert await browser.value("document.querySelectorAll('math').length") >= 4, "mathematics is typeset"
        received = browser.received_bytes
        files = [url for url in browser.requests if url.startswith("http")]
    print(f"drawn {drawn:.0f} ms after it was asked for; {received:,} bytes, with all views and their figures")
    assert received < MOST_BYTES
    assert all(url.startswith(address) for url in files)
    assert browser.console == []


async def test_the_page_is_used_by_keys_alone(browser: Browser, tmp_path: Path) -> None:
    settings = await write_run(tmp_path, ANSWERS)
    async with served(str(settings.run_directory)) as address:
        await browser.open(address)
        await browser.until(DRAWN)
        await browser.press("2")
        await browser.until("document.querySelector('main svg')?.textContent.includes('replay buffer')")
        await browser.press("3")
        await browser.until("document.querySelector('main').textContent.includes('What waits for what')")
        await browser.press("4")
        await browser.until(f"{LISTED} === 12")
        await browser.press("/")
        await browser.until("document.activeElement.type === 'search'")
        for letter in "idea":
            await browser.press(letter)
        await browser.until(f"{LISTED} === 6 && document.activeElement.value === 'idea'")
        assert await browser.value("document.querySelector('mark').textContent") == "idea"
        await browser.press("Escape")
        await browser.press("j")
        await browser.press("j")
        await browser.value("document.activeElement.click()")
        await browser.until(JUDGED)
        assert "id=g00000005.1" in await browser.value("location.hash")
        await browser.press("k")
        await browser.until("location.hash.includes('id=g00000005.0')")
        await browser.until(JUDGED)
        await browser.press("Escape")
        await browser.until("location.hash.startsWith('#rollouts') && location.hash.includes('text=idea')")


async def test_runs_are_laid_over_each_other_and_an_address_brings_back_what_was_shown(
    browser: Browser, tmp_path: Path
) -> None:
    runs = [await write_run(tmp_path, ANSWERS, name) for name in ("first", "second")]
    async with served(*(str(run.run_directory) for run in runs)) as address:
        await browser.open(f"{address}#curves?smooth=3&figures=seconds_backward")
        await browser.until(DRAWN)
        legend = await browser.value("document.querySelector('.u-legend').textContent")
        assert "first reward" in legend
        assert "second reward" in legend
        assert await browser.value("document.querySelector('input[type=number]').value") == "3"
        evaluated = await browser.value(
            "document.querySelector('[aria-label=\"Evaluations by version: pass@1\"]').textContent"
        )
        assert "first easy" in evaluated
        assert "second hard" in evaluated
        assert "seconds_backward" in await browser.text()
        await browser.open(f"{address}#curves?runs=second&by=source")
        await browser.until(DRAWN)
        legend = await browser.value("document.querySelector('.u-legend').textContent")
        assert "powers" in legend
        assert "first" not in legend
        await browser.open(f"{address}#rollouts?run=second&verdict=incorrect&step=3")
        await browser.until(f"{LISTED} === 1")


async def test_in_dark_and_light_and_on_a_narrow_screen(browser: Browser, tmp_path: Path) -> None:
    settings = await write_run(tmp_path, ANSWERS)
    colours = set()
    async with served(str(settings.run_directory)) as address:
        for dark in (False, True):
            await browser.look(390, 800, dark)
            for view, there in (
                ("curves", DRAWN),
                ("mesh", "document.querySelector('main svg')"),
                ("time", "document.querySelector('main svg')"),
                ("rollouts", LISTED),
                ("rollout?id=g00000002.0", JUDGED),
            ):
                await browser.open(f"{address}#{view}")
                await browser.until(f"Boolean({there})")
                width = await browser.value("document.documentElement.scrollWidth")
                assert (view, width <= 390) == (view, True)
            colours.add(await browser.value("getComputedStyle(document.body).backgroundColor"))
    assert colours == {"rgb(255, 255, 255)", "rgb(20, 23, 28)"}
