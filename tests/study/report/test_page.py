"""The page by itself: well-formed, accessible, without anything from outside, and hostile names are text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from study.report.document import Figure, Panel, Section, Series, Table, Verdict
from study.report.figures import COLOURS, INK, draw, limits, png, shared_axes, svg, variables
from study.report.page import page

HOSTILE = "<script>alert('1')</script> & \"quoted\" $x$ | é"
VOID = {"meta", "wbr", "br", "hr", "img", "link", "input"}
VERDICT = Verdict("collapse", HOSTILE, (HOSTILE,), Table("v", HOSTILE, ("", "K"), ((HOSTILE, "1"),)))


class Page(HTMLParser):
    """Every element with its attributes and text; raises where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def sections() -> list[Section]:
    bars = Series(HOSTILE, (1.0, 3.0), (0.5, 0.25), (0.4, 0.2), (0.6, 0.3))
    steps = Series("K = 1", (10.0, 20.0, 30.0), (0.5, float("nan"), 0.25))
    panels = (
        Panel(HOSTILE, "K", "HR@1", (bars,), (1.0, 3.0)),
        Panel("loss", "step", "loss", (steps, steps)),
    )
    table = Table("t", HOSTILE, ("", "K"), ((HOSTILE, "1"), ("b", "x" * 80)), HOSTILE)
    figure = Figure("f", HOSTILE, panels)
    return [Section(HOSTILE, HOSTILE, (figure,), (table,)), Section("second", "text", (figure,))]


@pytest.fixture(scope="module")
def text() -> str:
    return page(sections(), HOSTILE, VERDICT, [HOSTILE], [HOSTILE])


def test_it_is_well_formed_and_hostile_names_are_text(text: str) -> None:
    parsed = Page(text)
    assert not parsed.of("script")
    shown = "".join(data for _, data in parsed.texts)
    assert shown.count("<script>alert('1')</script> & \"quoted\"") >= 8
    assert parsed.of("svg")[0]["aria-label"].startswith(HOSTILE)  # type: ignore[union-attr]


def test_nothing_comes_from_outside(text: str) -> None:
    parsed = Page(text)
    assert not any(parsed.of(tag) for tag in ("link", "img", "script", "iframe", "object"))
    for _, attributes in parsed.elements:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unlike_and_references_have_their_targets(text: str) -> None:
    parsed = Page(text)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [
        (attributes.get("href") or attributes.get("xlink:href") or "") for _, attributes in parsed.elements
    ]
    wanted = {link[1:] for link in links if link} | set(re.findall(r"url\(#([^)]*)\)", text))
    assert wanted
    assert wanted <= set(ids)


def test_figures_and_tables_can_be_read_aloud(text: str) -> None:
    parsed = Page(text)
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in parsed.of("svg"))
    assert "from .500 at 1 to .250 at 3" in str(parsed.of("svg")[0]["aria-label"])
    assert {cell.get("scope") for cell in parsed.of("th")} == {"col", "row"}
    assert len(parsed.of("caption")) == len(parsed.of("table")) == 6
    assert parsed.of("html")[0]["lang"] == "en"
    assert "width=device-width" in str(parsed.of("meta"))
    regions = [attributes for attributes in parsed.of("div") if attributes.get("role") == "region"]
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)


def test_the_values_of_a_figure_stand_in_a_table(text: str) -> None:
    shown = [data for tag, data in Page(text).texts if tag == "td"]
    assert ".500 [.400, .600]" in shown
    assert ".250 [.200, .300]" in shown


def test_drawings_have_no_colour_of_their_own(text: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert f"var({variables()[COLOURS[0]]})" in drawings
    assert f"var({variables()[INK]})" in drawings
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawings)) <= {"#ffffff"}


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast_in_both_themes(text: str) -> None:
    """WCAG 2.2: 4.5 for text, 3 for what a figure is read from."""
    light, dark = (
        dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{([^}]*)\}", text)[:2]
    )
    for theme in (light, dark):
        for name in ("--ink", "--quiet", "--link"):
            for ground in ("--paper", "--shade"):
                assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
        for place in range(len(COLOURS)):
            assert contrast(theme[f"--series-{place}"], theme["--paper"]) >= 3, place


def test_the_same_sections_give_the_same_bytes(text: str, tmp_path: Path) -> None:
    assert page(sections(), HOSTILE, VERDICT, [HOSTILE], [HOSTILE]) == text
    (figure,) = sections()[0].figures
    for name in ("a.png", "b.png"):
        png(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_png_shows_every_line_on_white(tmp_path: Path) -> None:
    (figure,) = sections()[0].figures
    png(figure, tmp_path / "a.png")
    pixels = matplotlib.image.imread(tmp_path / "a.png")
    assert (pixels[0, 0, :3] == 1).all()
    for colour in COLOURS[:2]:
        wanted = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        assert (np.abs(pixels[..., :3] - wanted).max(axis=-1) < 0.01).any(), colour


def test_panels_share_the_scale_of_one_quantity() -> None:
    high = Panel("a", "K", "HR@1", (Series("x", (1.0,), (0.5,), (0.4,), (0.9,)),))
    low = Panel("b", "K", "HR@1", (Series("x", (1.0,), (0.1,)),))
    loss = Panel("c", "K", "loss", (Series("x", (1.0,), (float("inf"),)),))
    assert limits(Figure("f", "", (high, low, loss))) == {"HR@1": (0.1, 0.9)}


def axis_texts(drawing: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing)


def test_the_axis_of_a_share_ends_at_0_and_1_and_others_do_not() -> None:
    """Values from 0 to 1 need room on both sides, which a share does not have."""
    low = Panel("p", "step", "y", (Series("a", (1.0, 2.0), (0.001, 0.9), (0.0, 0.8), (0.2, 1.0)),))
    axes = shared_axes(Figure("f", "", (low,)))
    for share, expected in ((True, (0.0, 1.0)), (False, (-0.05, 1.05))):
        canvas = matplotlib.figure.Figure()
        draw(canvas, replace(low, share=share), axes)
        assert canvas.axes[0].get_ylim() == pytest.approx(expected)


def test_ticks_are_written_as_tables_write_numbers() -> None:
    panel = Panel("p", "step", "y", (Series("a", (1.0, 2.0), (-0.04, 0.04)),))
    texts = axis_texts(svg(panel, "n", shared_axes(Figure("f", "", (panel,)))))
    assert {"−.030", ".030"} <= set(texts)
    assert not any(text.startswith(("-", "0.")) for text in texts)


def test_panels_share_the_horizontal_axis_too() -> None:
    first = Panel("a", "step", "loss", (Series("x", (10.0, 300.0), (0.5, 0.4)),))
    second = Panel("b", "step", "HR@1", (Series("x", (50.0, 200.0), (0.5, 0.4)),))
    assert shared_axes(Figure("f", "", (first, second))).x == {"step": (10, 300)}


def test_a_column_that_no_row_fills_is_left_out_and_text_stands_left() -> None:
    table = Table("t", "T", ("", "K", "lr", "method"), (("runs/a-b", "", ".1", "DMPO"), ("b", "", "", "SFT")))
    text = page([Section("s", "t", (), (table,))], "T", Verdict("none", "s"), [], [])
    assert '<td></td><th scope="col">lr</th><th scope="col" class="text">method</th>' in text
    assert '<th scope="row">b</th><td></td><td class="text">SFT</td>' in text
    assert '<th scope="row">runs/<wbr>a-<wbr>b</th>' in text


def test_the_caption_takes_the_place_that_a_row_of_panels_leaves() -> None:
    panel = Panel("p", "step", "y", (Series("a", (1.0, 2.0), (0.0, 1.0)),))
    for count, kind in ((1, "1 open"), (2, "2"), (3, "3"), (5, "2 open")):
        figure = Figure("f", "c", (panel,) * count)
        text = page([Section("s", "t", (figure,))], "T", Verdict("none", "s"), [], [])
        assert f'<figure class="panels columns-{kind}">' in text


def test_the_verdict_is_the_first_thing_said() -> None:
    table = Table("v", "Runs", ("", "K"), (("a", "1"),))
    text = page(sections(), "T", Verdict("collapse", "Collapse.", ("More.",), table), ["lead"], [])
    body = [data.strip() for _, data in Page(text).texts if data.strip()]
    start = body.index("Collapse.")
    assert body[start - 1 : start + 4] == ["T", "Collapse.", "More.", "Which runs: 1", "Runs"]
    assert '<section class="verdict collapse"' in text


def test_what_belongs_together_stays_on_one_line() -> None:
    text = page([], "T", Verdict("none", "95 % at K = 15, lr 0.1: S / B fell by 2 a day"), [], [])
    assert "95\u00a0% at K\u00a0=\u00a015, lr\u00a00.1: S / B fell by 2 a day" in text
