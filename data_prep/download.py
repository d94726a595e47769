"""Downloading one large file over HTTP: resumable, with progress, and complete or an error."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

from tqdm import tqdm

from ddp_repro.data.io import DataError

_CHUNK = 1 << 20


def download(url: str, target: Path, sha1: str | None, timeout: float = 60.0) -> Path:
    """Fetch ``url`` to ``target``; an interrupted download goes on where it stopped when called again.

    What is there so far lies in ``target``.part and takes its name only when it has the size the server announced.

    Args:
        sha1: published SHA-1 of the file, if any.
        timeout: seconds without data after which the server counts as unreachable.

    Raises:
        DataError: the server cannot be reached, refuses, sends less than announced, or sends something else.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    try:
        total = _fetch(url, partial, timeout)
    except urllib.error.HTTPError as error:
        raise DataError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url}: download failed ({reason}); run the command again to go on where it stopped"
        ) from error
    size = partial.stat().st_size
    if total is not None and size != total:
        if size > total:
            partial.unlink()
        raise DataError(f"{url}: got {size} of {total} bytes; run the command again")
    if sha1 is not None and _sha1(partial) != sha1:
        partial.unlink()
        raise DataError(f"{url}: its SHA-1 is not the published {sha1}; it was deleted, run the command again")
    os.replace(partial, target)
    return target


def _sha1(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def _fetch(url: str, partial: Path, timeout: float) -> int | None:
    """Append the missing bytes to ``partial``; returns the file's full size if the server says it."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if _size(error.headers) == have:  # complete already
            return have
        partial.unlink()  # not a beginning of what the server has now
        return _fetch(url, partial, timeout)
    with response:
        resumed = response.status == 206
        if not resumed:
            have = 0  # the server does not resume: start again
        total = _size(response.headers)
        if total is None and (length := response.headers.get("Content-Length")):
            total = have + int(length)
        with (
            partial.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total, initial=have, unit="B", unit_scale=True, desc=partial.stem, leave=False, disable=None
            ) as progress,
        ):
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                progress.update(len(chunk))
    return total


def _size(headers: Message) -> int | None:
    """Return the file's full size, from ``Content-Range: bytes a-b/size``."""
    size = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None
