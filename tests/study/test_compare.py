from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.compare import main, metrics_of

TITLES = [f"t{n}" for n in range(6)]


def write(path: Path, ranks: list[int], **columns: list[object]) -> Path:
    """Writes predictions of six candidates whose target t0 has the given ranks; two rows a user."""
    lists = []
    for rank in ranks:
        others = TITLES[1:]
        lists.append([*others[: rank - 1], "t0", *others[rank - 1 :]])
    table = {
        "id": list(range(len(ranks))),
        "user": [f"u{row // 2}" for row in range(len(ranks))],
        "target": ["t0"] * len(ranks),
        "rank": ranks,
        "candidates": lists,
        "scores": [[float(-place) for place in range(6)] for _ in ranks],
    }
    pq.write_table(pa.table(table | columns), path)
    return path


def test_metrics_by_hand() -> None:
    values = metrics_of(np.array([1, 2, 3, 5, 6]))
    assert values["hit_ratio@1"].tolist() == [1, 0, 0, 0, 0]
    assert values["hit_ratio@5"].tolist() == [1, 1, 1, 1, 0]
    assert values["ndcg@5"] == pytest.approx([1, 1 / np.log2(3), 1 / 2, 1 / np.log2(6), 0])
    assert values["mrr"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 5, 1 / 6])


def test_two_files_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A is right in rows 0, 1 of 8; B in rows 0, 2, 3, 4: alone 1 and 3, so p = 2 · (1 + 4)/16 = .625.

    A user's differences sum to −1, 2, 1 and 0 (two rows each). The resampled mean has a standard deviation of
    √(1.25)/4/2 = .14 around .25, so 0 lies inside the 95 % interval.
    """
    first = write(tmp_path / "a.parquet", [1, 1, 2, 2, 2, 2, 2, 2])
    second = write(tmp_path / "b.parquet", [1, 2, 1, 1, 1, 2, 2, 2])
    assert main([str(first), str(second)]) == 0
    lines = capsys.readouterr().out.splitlines()
    hit = next(line for line in lines if line.startswith("hit_ratio@1 "))
    assert hit.split()[1:4] == ["0.2500", "0.5000", "+0.2500"]
    assert not hit.endswith("*")
    assert next(line for line in lines if line.startswith("hit_ratio@5")).split()[1:4] == [
        "1.0000",
        "1.0000",
        "+0.0000",
    ]
    mrr = next(line for line in lines if line.startswith("mrr"))
    assert mrr.split()[1:4] == ["0.6250", "0.7500", "+0.1250"]
    assert any("alone 1, B alone 3; exact McNemar p = 0.62" in line for line in lines)
    assert any("8 examples of 4 users" in line for line in lines)


def test_one_user_has_no_interval_and_no_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users: list[object] = ["u"] * 8
    first = write(tmp_path / "a.parquet", [2] * 8, user=users)
    second = write(tmp_path / "b.parquet", [1] * 8, user=users)
    assert main([str(first), str(second)]) == 0
    out = capsys.readouterr().out
    assert "8 examples of one user: they say nothing about other users." in out
    said = out.split("\n\n", 1)[1]  # after the names of the files
    assert not any(claim in said for claim in ("*", "interval", "McNemar", "["))


def test_users_that_do_not_differ_are_not_told_from_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both users gain .5 everywhere in mrr: an interval without width is no finding. The sign is a true minus."""
    first = write(tmp_path / "a.parquet", [1, 1, 1, 1])
    second = write(tmp_path / "b.parquet", [2, 2, 2, 2])
    assert main([str(first), str(second)]) == 0
    mrr = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mrr"))
    assert mrr.endswith("−0.5000   [−0.5000, −0.5000]")


def test_rows_are_joined_by_id_not_by_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranks = [1, 2, 3, 4, 5, 6]
    first = write(tmp_path / "a.parquet", ranks)
    table = pq.read_table(first).take(pa.array([5, 3, 1, 0, 2, 4]))
    pq.write_table(table, tmp_path / "b.parquet")
    assert main([str(first), str(tmp_path / "b.parquet")]) == 0
    out = capsys.readouterr().out
    assert out.count("+0.0000   [+0.0000, +0.0000]") == 4
    assert "p = 1." in out


def test_the_same_call_prints_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    files = [write(tmp_path / f"{n}.parquet", rng.integers(1, 7, size=60).tolist()) for n in "ab"]
    assert main([*map(str, files)]) == 0
    first = capsys.readouterr().out
    assert main([*map(str, files)]) == 0
    assert capsys.readouterr().out == first


REFUSED = {
    "id": ([1, 2, 3, 4], "2 examples are in one file only (4 and 4 rows, first: 0)"),
    "target": (["t0", "t0", "t1", "t0"], "1 examples differ in target, first: 2:"),
    "user": (["u0", "u0", "u1", "u9"], "1 examples differ in user, first: 3:"),
    "candidates": ([TITLES, TITLES, TITLES, ["t0", "x"]], "1 examples differ in candidates, first: 3:"),
}


@pytest.mark.parametrize("column", REFUSED)
def test_other_examples_are_refused(column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values, message = REFUSED[column]
    first = write(tmp_path / "a.parquet", [1, 2, 3, 4])
    second = write(tmp_path / "b.parquet", [1, 2, 3, 4], **{column: values})
    assert main([str(first), str(second)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "predict the same split of the same data with both" in error


def test_files_that_are_no_predictions_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "a.parquet", [1, 2])
    twice = write(tmp_path / "twice.parquet", [1, 2], id=[4, 4])
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": [1]}), other)
    text = tmp_path / "text.parquet"
    text.write_text("no Parquet")
    for path, message in [
        (tmp_path / "absent.parquet", "absent.parquet"),
        (text, "give a predictions.parquet"),
        (other, "give a predictions.parquet"),
        (twice, "example 4 occurs twice"),
        (write(tmp_path / "empty.parquet", []), "holds no rows"),
        (write(tmp_path / "null.parquet", [1, 2], rank=[1, None]), "has empty cells"),
        (write(tmp_path / "zero.parquet", [0, 2]), "ranks are whole numbers from 1 on"),
        (write(tmp_path / "words.parquet", [1, 2], rank=["1", "2"]), "ranks are whole numbers from 1 on"),
    ]:
        assert main([str(good), str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert message in error
