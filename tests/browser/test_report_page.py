"""The page in a real browser: it draws its timeline, complains about nothing and asks nobody for anything."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from slo.report import html

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SAMPLE = Path(__file__).parents[1] / "unit" / "slo" / "report" / "conftest.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium (CI does)"),
]


@pytest.fixture(scope="module")
def sample() -> ModuleType:
    """The module that makes the sample run."""
    spec = importlib.util.spec_from_file_location("report_sample", SAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def browse(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what the console said beyond Bokeh's greeting."""
    assert CHROMIUM
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
            "--enable-logging=stderr", "--virtual-time-budget=8000", *options, "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = re.findall(r'CONSOLE[^"]*"(.*)", source', done.stderr)
    return done.stdout, [line for line in said if "setting log level" not in line]


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        (("--window-size=1280,1800",), "light"),
        (("--window-size=500,1800",), "light"),
        (("--force-dark-mode", "--blink-settings=preferredColorScheme=0"), "dark"),
    ],
    ids=["desktop", "phone", "dark"],
)
def test_the_timeline_is_drawn_without_complaint(
    tmp_path: Path, sample: ModuleType, options: tuple[str, ...], drawn: str
) -> None:
    """In each surrounding the charts are there and the console is silent, so no fetch was even tried."""
    page = tmp_path / "report.html"
    page.write_text(html.render(sample.make_verdict(), sample.make_timeline()), encoding="utf-8")
    document, said = browse(page, tmp_path / "profile", *options)
    assert f'data-drawn="{drawn}"' in document
    assert said == []


def test_a_fetch_would_be_heard(tmp_path: Path, sample: ModuleType) -> None:
    """The control: an image from elsewhere is refused by the page's policy, and the console says so."""
    page = tmp_path / "report.html"
    text = html.render(sample.make_verdict(), None)
    page.write_text(text.replace("</main>", "<img src='https://127.0.0.1:9/x.png'></main>"), encoding="utf-8")
    _, said = browse(page, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in said)
