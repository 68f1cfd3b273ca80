"""Split a history that is one string, "A::B", where titles may hold colons themselves."""

from collections.abc import Callable, Iterable

from datamodules.interactions import fold_title

SEPARATOR = "::"

HistorySplit = Callable[[str], list[str]]


class TitlesNeeded(Exception):
    """Raised for a history that cannot be split without knowing what titles there are."""


def split_plainly(history: str) -> list[str]:
    """Split at every separator.

    Raises:
        TitlesNeeded: Colons stand together in another way than between two titles.
    """
    parts = history.split(SEPARATOR) if history else []
    if _is_doubtful(parts):
        raise TitlesNeeded
    return parts


def _is_doubtful(parts: list[str]) -> bool:
    """Whether another split is possible: ":::" leaves a part that begins with a colon, "::::" an empty one."""
    return any(part[:1] in ("", ":") for part in parts)


class SplitByTitles:
    """Split histories against the titles that candidate lists and targets hold.

    Of all ways to split, the cheapest is taken: a known title costs nothing, another one 1, and 1 more for a colon at
    its beginning and at its end. A title that is not known holds no separator.

    Args:
        titles: The known titles; case and white space do not count.
    """

    def __init__(self, titles: Iterable[str]) -> None:
        self._known = {_key(title) for title in titles}
        self._compound = [title for title in self._known if SEPARATOR in title]
        self._most = max((title.count(SEPARATOR) for title in self._compound), default=0)

    def __call__(self, history: str) -> list[str]:
        """Split a history.

        Raises:
            ValueError: Two ways are equally cheap; the message names both.
        """
        parts = history.split(SEPARATOR) if history else []
        if not _is_doubtful(parts) and not self._holds_compound(history):
            return parts
        first, *others = self._cheapest(history)
        if others:
            one, other = _where_they_differ(first, others[0])
            raise ValueError(f"historyList can be read as {one} or as {other}: give it as a list of titles")
        return first

    def _holds_compound(self, history: str) -> bool:
        key = _key(history) if self._compound else ""
        return any(title in key for title in self._compound)

    def _cheapest(self, history: str) -> list[list[str]]:
        """Find the cheapest way to split; where several are equally cheap, two of them."""
        ends = [place for place in range(len(history)) if history.startswith(SEPARATOR, place)] + [
            len(history)
        ]
        begins = [0, *(end + len(SEPARATOR) for end in ends)]
        # Where a title may begin: what the titles before it cost at least, and up to two ways to that.
        best: dict[int, tuple[int, list[list[str]]]] = {0: (0, [[]])}
        for begin in begins[:-1]:
            if begin not in best:
                continue
            so_far, ways = best[begin]
            for end in (end for end in ends if end >= begin):
                title = history[begin:end]
                if title.count(SEPARATOR) > self._most:
                    break
                cost = self._cost(title)
                if cost is None:
                    continue
                longer = [[*way, title] for way in ways]
                after = end + len(SEPARATOR)
                least, known = best.get(after, (so_far + cost, []))
                if so_far + cost < least:
                    best[after] = (so_far + cost, longer)
                elif so_far + cost == least:
                    best[after] = (least, [*known, *longer][:2])
        return best[begins[-1]][1]

    def _cost(self, title: str) -> int | None:
        if _key(title) in self._known:
            return 0
        if SEPARATOR in title:
            return None
        return 1 + title.startswith(":") + title.endswith(":")


def _where_they_differ(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    while one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return one, other


def _key(title: str) -> str:
    return fold_title(title).casefold()
