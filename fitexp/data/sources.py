"""From a protocol and its source to prepared arrays, through the cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from fitexp import targets
from fitexp.data.prepare import Prepared, cached, code_version, digest, fingerprint
from fitexp.data.spec import Spec
from fitexp.errors import InputError

Table = TypeVar("Table")


def prepared(
    protocol: Any,
    takes: type[Table],
    make: Callable[[Table], Prepared],
    spec: Spec | None,
    allow: Sequence[str] | None,
) -> Prepared:
    """`make` of what protocol.source reads, or that from the cache.

    takes: the table that the source must give; spec: of a trained run, where `make` goes by it;
    allow: what `source` may name (targets.locate). Baselines and batch size do not touch arrays.
    """
    fields = asdict(protocol)
    for name in ("batch_size", "baselines"):
        fields.pop(name)
    path = fields.pop("path")
    given = None if spec is None else spec.to_dict()
    reader = inspect.getsourcefile(targets.locate(protocol.source[targets.TARGET], allow))
    files = [fingerprint(file) for file in (path, *_named(protocol.source, path), reader)]
    key = digest(fields, files, given, code_version())

    def read() -> Prepared:
        table = targets.build(protocol.source, allow=allow, path=path)
        if not isinstance(table, takes):
            raise InputError(
                f"data.source: {protocol.source.get('_target_')} gives {type(table).__name__}, "
                f"not {_article(takes)}"
            )
        return make(table)

    return cached(key, read)


def _named(source: Mapping[str, Any], path: str | None) -> list[Path]:
    """Files that a source names, beside the file `path` or anywhere: its table of users."""
    if path is None:
        return []
    folder = Path(path).expanduser()
    folder = folder.parent if folder.is_file() else folder
    words = [value for value in source.values() if isinstance(value, str)]
    return [folder / word for word in words if word and (folder / word).is_file()]


def _article(takes: type) -> str:
    return f"{'an' if takes.__name__[0] in 'AEIOU' else 'a'} {takes.__name__}"


def folder_of(path: str | None, holds: str) -> Path:
    """The folder data.path, which must hold `holds` (words). Raises InputError for none."""
    if path is None:
        raise InputError(f"data.path is missing: it must be a folder with {holds}")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{path}: not a folder; data.path must hold {holds}")
    return folder
