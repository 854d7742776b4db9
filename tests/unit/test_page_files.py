"""The files of the page: small, its own, and without a way to make markup out of text."""

import re

from areal_mesh.page.app import STATIC

MOST_BYTES = 400_000
MOST_LINES = 300
OWN = sorted(path for path in STATIC.iterdir() if path.is_file())
SERVED = [path for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css")]
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|eval\(")
# A name of XML's, which is never asked for.
SVG = "http://www.w3.org/2000/svg"


def test_all_files_together_are_small() -> None:
    assert len(SERVED) > 10
    assert sum(path.stat().st_size for path in SERVED) < MOST_BYTES


def test_no_file_of_ours_names_an_address_or_makes_markup_of_text() -> None:
    for path in OWN:
        text = path.read_text(encoding="utf-8").replace(SVG, "")
        assert not re.search(r"https?://|//cdn", text), path
        assert not MARKUP.search(text), path
        assert len(text.splitlines()) <= MOST_LINES, path


def test_the_page_has_no_script_or_style_within() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>([^<]*)", page) == ["", ""]
    assert not re.search(r"<style|style=|\son\w+=|javascript:", page)


def test_what_is_not_ours_has_its_licence_and_its_version() -> None:
    vendor = STATIC / "vendor"
    packages = [folder for folder in vendor.iterdir() if folder.is_dir()]
    assert len(packages) == 2
    notes = (vendor / "README.md").read_text(encoding="utf-8")
    for folder in packages:
        assert "MIT License" in (folder / "LICENSE").read_text(encoding="utf-8")
        assert re.search(rf"\| `{folder.name}/` \| {folder.name} \| \d+\.\d+\.\d+ \|", notes)
