import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.named_title import named_title

HOLE, SKY, IT = "Hole", "Hole in the Sky", "It"


@pytest.mark.parametrize(
    ("text", "titles", "named"),
    [
        # The longest match counts; both titles are substrings of the text.
        ("Hole in the Sky", [HOLE, SKY], SKY),
        (" Hole in the Sky\n", [SKY, HOLE], SKY),
        ("Hole", [HOLE, SKY], HOLE),
        # Half of a longer title is the shorter one.
        ("Hole in the", [HOLE, SKY], HOLE),
        # The shorter title stands there by itself too, so two are named.
        ("Hole in the Sky or Hole", [HOLE, SKY], None),
        ("Hole, then Hole in the Sky", [HOLE, SKY], None),
        # A title that is said twice is one title.
        ("Hole in the Sky, Hole in the Sky", [HOLE, SKY], SKY),
        ("I recommend: Hole.", [HOLE, "Heat"], HOLE),
        ("Heat and Hole", [HOLE, "Heat"], None),
        ("Alien", [HOLE, SKY], None),
        ("", [HOLE], None),
        ("   ", ["", " "], None),
        # Whole words: the text says another film.
        ("Italian Job", [IT], None),
        ("Remit", ["mit"], None),
        ("Italian Job: It", [IT], IT),
        ("1984", ["198"], None),
        # A title that ends in no letter may be followed by one.
        ("What?yes", ["What?"], "What?"),
        # Space around a title is none of it; titles that overlap without one holding the other are two.
        ("a b c", [" a b ", "b c"], None),
        ("a b", [" a b "], "a b"),
        # Nested three deep.
        ("Sky", ["Sky", "the Sky", SKY], "Sky"),
        ("in the Sky", ["Sky", "the Sky", SKY], "the Sky"),
        # Case is part of a title.
        ("hole", [HOLE], None),
        # Characters of regular expressions are plain.
        ("a :: b (1999)", ["a :: b (1999)", "a .. b"], "a :: b (1999)"),
        ("映画 🎬", ["映画 🎬", "映画"], "映画 🎬"),
    ],
)
def test_by_hand(text: str, titles: list[str], named: str | None) -> None:
    assert named_title(text, titles) == named
    assert named_title(text, titles[::-1]) == named


@given(
    titles=st.lists(st.text(min_size=1).filter(lambda title: title == title.strip()), min_size=1, max_size=8)
)
def test_a_text_that_is_a_title_names_it(titles: list[str]) -> None:
    for title in titles:
        assert named_title(title, titles) == title
        assert named_title(f" {title}\n", titles) == title


@given(text=st.text("ab ", max_size=12), titles=st.lists(st.text("ab ", max_size=4), max_size=6))
def test_against_the_definition(text: str, titles: list[str]) -> None:
    """Every pair of places is looked at: [i, j) names a title if it is one, in whole words, and no larger place is."""

    def stands(i: int, j: int) -> bool:
        whole = (i == 0 or text[i - 1] == " " or text[i] == " ") and (
            j == len(text) or text[j] == " " or text[j - 1] == " "
        )
        return whole and text[i:j] in {title.strip() for title in titles}

    places = [(i, j) for i in range(len(text)) for j in range(i + 1, len(text) + 1) if stands(i, j)]
    outer = [
        text[i:j] for i, j in places if not any((a, b) != (i, j) and a <= i and j <= b for a, b in places)
    ]
    expected = outer[0] if len(set(outer)) == 1 else None
    assert named_title(text, titles) == expected
