"""Which of some titles a text names."""

from collections.abc import Sequence


def named_title(text: str, titles: Sequence[str]) -> str | None:
    """Finds the one title that a text names.

    A title is named where it stands in the text as whole words and not inside a longer one that stands there. With both
    "Hole" and "Hole in the Sky" among the titles, the text "Hole in the Sky" names the second alone; the published
    evaluations, which look for substrings, call it invalid. "Italian Job" does not name "It".

    Args:
        text: What was generated.
        titles: Candidates; space around them does not count, and an empty one is never named.

    Returns:
        The title without space around it; None where the text names none, or several.
    """
    spans = {
        (start, start + len(title))
        for title in {title.strip() for title in titles}
        for start in _occurrences(text, title)
    }
    outermost = {
        (start, end)
        for start, end in spans
        if not any(left <= start and end <= right and (left, right) != (start, end) for left, right in spans)
    }
    named = {text[start:end] for start, end in outermost}
    return named.pop() if len(named) == 1 else None


def _occurrences(text: str, title: str) -> list[int]:
    """Starts of a title in a text, where it is not cut out of a word."""
    starts = []
    start = text.find(title) if title else -1
    while start >= 0:
        end = start + len(title)
        cut_before = text[start - 1 : start].isalnum() and title[0].isalnum()
        cut_after = text[end : end + 1].isalnum() and title[-1].isalnum()
        if not cut_before and not cut_after:
            starts.append(start)
        start = text.find(title, start + 1)
    return starts
