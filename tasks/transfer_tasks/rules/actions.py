"""What may be done with a call besides connecting it: by default, nothing that asks, records or plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

from transfer_tasks.intent.actions import (
    Action,
    Connect,
    FilePrompt,
    Hangup,
    Input,
    Param,
    Play,
    PlayGetInput,
    UrlResult,
)
from transfer_tasks.intent.destination import PipelineDestination
from transfer_tasks.intent.validation import mask_value
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.media import MediaRules
from transfer_tasks.rules.objection import Objection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transfer_tasks.intent import ConnectOptions, TransferIntent
    from transfer_tasks.intent.actions import OnResult, Prompt
    from transfer_tasks.intent.fields import ContractModel

ACTIONS: Final = frozenset(
    get_args(model.model_fields["action"].annotation)[0] for model in get_args(get_args(Action)[0])
)
"""Every action that a pipeline may hold."""

_ALWAYS: Final = frozenset({"connect", "play", "param", "hangup"})
_RECORD: Final = "record"
_SETTING: Final = "TRANSFER_ALLOW_ACTIONS"


@dataclass(frozen=True, slots=True)
class ActionRules:
    """Which actions a pipeline may hold, and which media anybody may name.

    Attributes:
        allowed: Actions besides `connect`, `param` and `play` before it, and `hangup` at the end; ``record``
            is also the option `recording`.
        media: What may be played, and where input may be posted to.
    """

    allowed: frozenset[str] = field(default_factory=frozenset)
    media: MediaRules = field(default_factory=MediaRules)

    @classmethod
    def parse(cls, actions: str, media: str) -> ActionRules:
        """Read ``play_get_input, record`` and what `MediaRules.parse` reads.

        Raises:
            ValueError: An item means nothing.
        """
        return cls(parse_actions(actions), MediaRules.parse(media))

    def find_objection(self, intent: TransferIntent) -> Objection | None:
        """Return the first thing that may not be asked for, if there is any."""
        return next(self._find(intent), None)

    def _find(self, intent: TransferIntent) -> Iterator[Objection]:
        yield from self._find_in_options(intent.options, "options")
        if isinstance(intent.destination, PipelineDestination):
            actions = intent.destination.pipeline
            for position, action in enumerate(actions):
                path = f"destination.pipeline[{position}]"
                if action.action not in _ALWAYS | self.allowed:
                    yield _object(
                        path,
                        action.action,
                        "is an action that is not allowed",
                        f"Leave it out, or allow it with {_SETTING}={action.action}.",
                    )
                if fault := _find_misplaced(actions, position):
                    yield _object(path, action.action, *fault)
                if isinstance(action, Connect) and action.params.options:
                    yield from self._find_in_options(action.params.options, f"{path}.params.options")
                yield from self._find_in_media(_media_of(action, path))

    def _find_in_options(self, options: ConnectOptions, path: str) -> Iterator[Objection]:
        if options.waiting_music is not None:
            yield from self._find_in_media([(f"{path}.waiting_music", options.waiting_music)])
        # Without `enabled`, whether it records is the platform's choice.
        if options.recording and options.recording.enabled is not False and _RECORD not in self.allowed:
            yield _object(
                f"{path}.recording",
                options.recording,
                "asks for a recording, which is not allowed",
                f'Leave it out, say "enabled": false, or allow it with {_SETTING}={_RECORD}.',
            )

    def _find_in_media(
        self, named: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]
    ) -> Iterator[Objection]:
        for path, text in named:
            if fault := self.media.find_fault(text):
                yield _object(path, text, *fault)


def parse_actions(text: str) -> frozenset[str]:
    """Read ``play_get_input, record``.

    Raises:
        ValueError: An item is no action.
    """
    items = [part.strip() for part in text.split(",") if part.strip()]
    for item in items:
        if item not in ACTIONS:
            raise ValueError(f"{item!r} is no action: use {', '.join(sorted(ACTIONS - _ALWAYS))}")
    return frozenset(items)


def _find_misplaced(actions: Sequence[ContractModel], position: int) -> tuple[str, str] | None:
    action, later = actions[position], actions[position + 1 :]
    if isinstance(action, Hangup) and later:
        return "ends the call before the actions that follow", "Put hangup at the end, or leave it out."
    if isinstance(action, Play | Param) and not any(isinstance(other, Connect) for other in later):
        return "comes after the last connect action", "Put it before a connect action, or leave it out."
    return None


def _media_of(action: ContractModel, path: str) -> Iterator[tuple[str, str]]:
    match action:
        case Play(file_name=name):
            yield f"{path}.file_name", name
        case Input(on_result=result):
            yield from _url_of(result, path)
        case PlayGetInput(prompt=prompt, retries=retries, on_result=result):
            yield from _file_of(prompt, f"{path}.prompt")
            if retries:
                yield from _file_of(retries.invalid_prompt, f"{path}.retries.invalid_prompt")
                yield from _file_of(retries.no_input_prompt, f"{path}.retries.no_input_prompt")
            yield from _url_of(result, path)


def _file_of(prompt: Prompt | None, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(prompt, FilePrompt):
        yield f"{path}.file_name", prompt.file_name


def _url_of(result: OnResult, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(result, UrlResult):
        yield f"{path}.on_result.url", result.url


def _object(path: str, value: object, problem: str, fix: str) -> Objection:
    shown = "an object" if not isinstance(value, str) else mask_value(value, path=path)
    return Objection(reason=Reason.ACTION_NOT_ALLOWED, field=path, value=shown, problem=problem, fix=fix)
