"""Prompts and messages speak of things as the user does: the item's noun, the user's own id."""

from pathlib import Path

import pytest

from datamodules import InputError, RecommendationDataModule
from datamodules.prompt_settings import PromptSettings
from datamodules.prompts import FILM_TEMPLATES, Template, templates_for
from datamodules.sources import TableSource


def shop(folder: Path, items: int) -> TableSource:
    """Users 500 to 502; the last one, of internal number 0, consumed 12 items."""
    rows = [f"502,{n},{n}" for n in range(12)]
    rows += [f"{500 + n % 2},{n % items},{n}" for n in range(40)]
    titles = [f"{n},Card {'very ' * n}{n}" for n in range(items)]
    (folder / "log.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n")
    return TableSource(str(folder / "log.csv"), str(folder / "items.csv"))


def test_users_are_named_as_in_the_file(tmp_path: Path) -> None:
    settings = {"cache_dir": str(tmp_path), "num_candidates": 4, "min_history": 1}
    with pytest.raises(InputError, match="user 502 leaves 0 of 12 items to draw 3 negatives from"):
        RecommendationDataModule(shop(tmp_path, 12), **settings).prepare_data()
    with pytest.raises(InputError, match=r"user 50[012]: a prompt needs \d+ tokens without any history"):
        RecommendationDataModule(shop(tmp_path, 60), **settings, max_length=20).prepare_data()
    data = RecommendationDataModule(shop(tmp_path, 60), **settings)
    data.prepare_data()
    data.setup("fit")
    rows = data.store.splits["train"]
    lengths = data._longest("train")
    longest = data.store.users[rows[int(lengths.argmax())]["user"]]
    with pytest.raises(
        InputError,
        match=f"user {longest}: a prompt has {lengths.max()} tokens and the model's context 9: set",
    ):
        data.require_context(9)


def test_the_noun_stands_in_the_default_templates(tmp_path: Path) -> None:
    """It shapes the prompts' settings, which checkpoints and prompts.json keep; films are what they were."""
    source = shop(tmp_path, 60)
    default, films, cards = (
        RecommendationDataModule(source, **each) for each in ({}, {"noun": "films"}, {"noun": "gift cards"})
    )
    assert default.fingerprint == films.fingerprint != cards.fingerprint
    assert default.prompt_settings.templates == FILM_TEMPLATES
    templates = cards.prompt_settings.templates
    text = "\n".join(templates)
    assert "Gift cards this person chose" in text
    assert all(word not in text.lower() for word in ("film", "watch", "view", "{noun}"))
    assert len(templates) == len(FILM_TEMPLATES)
    for template in templates:
        Template.parse(template)
    cards.prompt_settings.write(tmp_path)
    assert PromptSettings.read(tmp_path) == cards.prompt_settings
    own = ["Cards:{history}\nNext:{candidates}\nAnswer:"]
    with pytest.raises(
        ValueError, match="noun='gift cards' is for the default templates and templates are given"
    ):
        RecommendationDataModule(source, noun="gift cards", templates=own)
    for noun in ("", "  ", "{history}", "two\nlines"):
        with pytest.raises(ValueError, match="must be what the items are, in the plural"):
            templates_for(noun)
