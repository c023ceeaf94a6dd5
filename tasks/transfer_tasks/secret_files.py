"""Secrets that stand in files: each setting that is one also comes as `<variable>_FILE`, the path of a file.

Containers get their secrets so (Docker's, Kubernetes'): who sees a container's environment does not see them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from transfer_tasks.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

SUFFIX: Final = "_FILE"


class SecretFiles(PydanticBaseSettingsSource):
    """The files that one source of variables names: the environment, or `.env`.

    Args:
        settings_class: Whose secrets are looked for.
        variables: What the source holds, by names in lower case.
    """

    def __init__(self, settings_class: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_class)
        self._variables = variables

    def __call__(self) -> dict[str, Any]:
        """Return the secrets that were found.

        Raises:
            SettingsError: A file can't be used, or a secret is given twice; all such problems together.
        """
        found, problems = {}, []
        for name, field in self.settings_cls.model_fields.items():
            alias = field.validation_alias if isinstance(field.validation_alias, str) else None
            variable = (alias or f"{self.config.get('env_prefix', '')}{name}").upper()
            path = self._variables.get(f"{variable}{SUFFIX}".lower())
            if not path or not holds_secret(field.annotation):
                continue
            if self._variables.get(variable.lower()):
                problems.append(f"{variable} and {variable}{SUFFIX} are both set: leave one of them out")
                continue
            try:
                found[alias or name] = read_secret(Path(path))
            except ValueError as error:
                problems.append(f"{variable}{SUFFIX} is wrong: {error}")
        if problems:
            raise SettingsError(problems)
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As the base class asks; `__call__` does it all."""
        raise NotImplementedError


def read_secret(path: Path) -> str:
    """Return what a file holds, without the line's end behind it.

    Raises:
        ValueError: It can't be read, or holds nothing.
    """
    try:
        text = path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not written in UTF-8") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def holds_secret(annotation: Any) -> bool:
    """Say whether a field's type is that of a secret, or may be."""
    return annotation is SecretStr or any(map(holds_secret, get_args(annotation)))
