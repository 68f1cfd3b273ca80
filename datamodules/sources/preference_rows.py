"""A row of preferences: ours, TRL's (standard and conversational) or LLaMA-Factory's, told by its keys."""

from collections.abc import Sequence
from typing import Any

# A role, one of `system`, `user` and `assistant`, and what was said.
Message = tuple[str, str]
Conversation = tuple[Message, ...]
Prompt = str | Conversation

_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}
_PROMPT, _CHOSEN, _REJECTED = "prompt", "chosen", "rejected"
_INSTRUCTION, _CONVERSATIONS = "instruction", "conversations"
_NOT_TEXT = "rejected holds something else than text"


def parse_preference(row: Any) -> tuple[Prompt, tuple[str, ...]]:
    """Take a row apart.

    The prompt is `prompt` (text or messages), `instruction` (with `input`, `system` and `history`) or `conversations`
    (with `system`); without any it is what `chosen` and `rejected` begin with alike. `chosen` is text or messages,
    `rejected` one such or a list of them.

    Args:
        row: A JSON value.

    Returns:
        The prompt, and the responses, the chosen one first.

    Raises:
        ValueError: It says what is wrong with the row.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:40]!r} is not an object")
    prompt, chosen, rejected = row.get(_PROMPT), row.get(_CHOSEN), row.get(_REJECTED)
    if (
        prompt
        and isinstance(rejected, list)
        and rejected
        and set(map(type, (prompt, chosen, *rejected))) == {str}
    ):
        responses = [chosen, *rejected]  # as in most rows
    else:
        prompt, responses = _parse_any(row)
    if "" in responses:
        raise ValueError("a response is empty")
    if len(set(responses)) < len(responses):
        raise ValueError("a response stands there twice: chosen and rejected ones must differ")
    return prompt, tuple(responses)


def _parse_any(row: dict[str, Any]) -> tuple[Prompt, list[str]]:
    prompt = _prompt(row)
    answers = [_answer(_CHOSEN, row.get(_CHOSEN)), *_rejected(row)]
    texts = [answer for answer in answers if isinstance(answer, str)]
    conversations = [answer for answer in answers if not isinstance(answer, str)]
    if texts and conversations:
        raise ValueError("one of chosen and rejected is text and another one is messages")
    if conversations:
        prompt, texts = _split_messages(prompt, conversations)
    elif prompt is None:
        prompt, texts = _split_texts(texts)
    if not isinstance(prompt, str):
        _require_question(prompt)
    return prompt, texts


def _prompt(row: dict[str, Any]) -> Prompt | None:
    if row.get(_PROMPT) is not None:
        return _text_or_messages(_PROMPT, row[_PROMPT])
    if row.get(_INSTRUCTION) is not None:
        return _instruction(row)
    if row.get(_CONVERSATIONS) is not None:
        return (*_system(row), *_messages(_CONVERSATIONS, row[_CONVERSATIONS]))
    return None


def _instruction(row: dict[str, Any]) -> Prompt:
    parts = [row[_INSTRUCTION], row.get("input") or ""]
    if set(map(type, parts)) != {str} or not parts[0]:
        raise ValueError("instruction or input is not text, or there is no instruction")
    text = "\n".join(part for part in parts if part)
    turns = row.get("history") or []
    if not isinstance(turns, list) or any(not isinstance(turn, list) or len(turn) != 2 for turn in turns):
        raise ValueError(f"history {str(turns)[:40]!r} is not a list of questions with their answers")
    before = [
        message for question, answer in turns for message in (("user", question), ("assistant", answer))
    ]
    if any(not isinstance(content, str) for _, content in before):
        raise ValueError("history holds something else than text")
    system = _system(row)
    return (*system, *before, ("user", text)) if system or before else text


def _system(row: dict[str, Any]) -> Conversation:
    system = row.get("system") or ""
    if not isinstance(system, str):
        raise ValueError(f"system {str(system)[:40]!r} is not text")
    return (("system", system),) if system else ()


def _text_or_messages(field: str, value: Any) -> Prompt:
    if isinstance(value, str | list) and not value:
        raise ValueError(f"{field} is empty")
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError(f"{field} {str(value)[:40]!r} is not text and not a list of messages")
    return _messages(field, value)


def _answer(field: str, value: Any) -> Prompt:
    return _messages(field, [value]) if isinstance(value, dict) else _text_or_messages(field, value)


def _rejected(row: dict[str, Any]) -> list[Prompt]:
    """Return the rejected responses; messages in a list are one response, unless `chosen` is a single message."""
    value = row.get(_REJECTED)
    if not isinstance(value, list) or not value:
        return [_answer(_REJECTED, value)]
    if all(isinstance(each, dict) for each in value) and not isinstance(row.get(_CHOSEN), dict):
        return [_messages(_REJECTED, value)]
    if any(each == "" or not isinstance(each, str | dict | list) for each in value):
        raise ValueError(_NOT_TEXT)
    return [_answer(_REJECTED, each) for each in value]


def _messages(field: str, value: Any) -> Conversation:
    """Read messages with `role` and `content`, or with `from` and `value`."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"{field} {str(value)[:40]!r} is not a list of messages")
    messages = []
    for message in value:
        if not isinstance(message, dict):
            raise ValueError(f"{field} holds {str(message)[:40]!r}, which is no message")
        role, content = (message.get(a, message.get(b)) for a, b in (("role", "from"), ("content", "value")))
        if role not in _ROLES:
            raise ValueError(f"{field} has a message of {role!r}, who is none of {', '.join(_ROLES)}")
        if not isinstance(content, str) or not (content or role == "system"):
            raise ValueError(f"{field} has a message whose content, {str(content)[:40]!r}, is not text")
        if content:
            messages.append((_ROLES[role], content))
    return tuple(messages)


def _split_texts(texts: list[str]) -> tuple[str, list[str]]:
    """Cut off what texts begin with alike; a space before the place where they part is the responses', as in TRL."""
    shared = texts[0][: _alike(texts)].removesuffix(" ")
    if not shared:
        raise ValueError("there is no prompt, and chosen and rejected do not begin alike")
    return shared, [text[len(shared) :] for text in texts]


def _split_messages(prompt: Prompt | None, answers: list[Conversation]) -> tuple[Conversation, list[str]]:
    """Join a prompt and the messages that answers begin with alike; each goes on with one message of the assistant."""
    shared = answers[0][: _alike([answer[:-1] for answer in answers])]
    for answer in answers:
        if [role for role, _ in answer[len(shared) :]] != ["assistant"]:
            raise ValueError(
                "behind what they begin with alike, chosen and rejected must each be one message of the assistant"
            )
    if isinstance(prompt, str):
        if shared and shared[-1][1].strip() != prompt.strip():
            raise ValueError("prompt is not the question that chosen and rejected answer")
        prompt = shared or (("user", prompt),)
    elif prompt != shared:
        prompt = (*(prompt or ()), *shared)
    return prompt, [answer[-1][1] for answer in answers]


def _alike(sequences: Sequence[Sequence[Any]]) -> int:
    """Count the elements with which all sequences begin alike."""
    for number, elements in enumerate(zip(*sequences, strict=False)):
        if len(set(elements)) > 1:
            return number
    return min(map(len, sequences))


def _require_question(prompt: Conversation) -> None:
    roles = [role for role, _ in prompt]
    if not roles or roles[-1] != "user":
        raise ValueError("the prompt does not end with a message of the user")
    if "system" in roles[1:]:
        raise ValueError("the prompt has a message of the system that is not its first")
