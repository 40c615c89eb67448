"""Files that appear whole or not at all, and last: the only module of the ground that touches a disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path

from harness.identity import sha256_of, sha256_of_file


def read_small(path: str | Path) -> bytes:
    """The bytes of a file, in half of the time of `Path.read_bytes` where it is small: for who reads thousands.

    Raises OSError as that does.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file below a folder, and the folders, durable; and each file as open to others as its folder is.

    safetensors writes for the owner alone, whatever the umask says: in a store of a group others read its files.
    """
    for directory, _, files in os.walk(folder):
        allowed = os.stat(directory).st_mode & 0o666
        for name in files:
            with open(os.path.join(directory, name), "rb") as handle:
                if allowed & ~(mode := os.fstat(handle.fileno()).st_mode):
                    os.fchmod(handle.fileno(), (mode & 0o7777) | allowed)
                os.fsync(handle.fileno())
        sync_folder(Path(directory))


@contextlib.contextmanager
def _durable(path: Path, content: str | bytes | Iterator[str]) -> Iterator[Path]:
    """A temporary file beside `path` that holds the content durably; the block gives it its name, what is left goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as handle:
            for piece in [content] if isinstance(content, str | bytes) else content:
                # half of a character, as of a damaged text, is written as the code that JSON and Python have for it
                handle.write(piece.encode(errors="backslashreplace") if isinstance(piece, str) else piece)
            handle.flush()
            os.fsync(handle.fileno())
        yield temporary
        sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # a write to an open file does not say which
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_is_file(path: Path) -> None:
    """Raises OSError where anything but a file has the name: a folder, a device, a pipe, what a process has open.

    A rename would put a file in the place of a device as well, and of the link /dev/stdout.
    """
    try:
        mode = os.stat(path).st_mode
        folder = os.path.realpath(path.parent)
    except OSError:  # nothing is there, or a link to nothing: it is replaced
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode) or folder == "/dev" or folder.startswith("/proc/"):
        raise OSError(errno.EINVAL, "it is no regular file, and is not replaced", str(path))


def no_guard() -> None:
    """A guard that lets everything pass."""


def write_new(path: Path, content: str | bytes, *, guard: Callable[[], None] = no_guard) -> None:
    """Create a file whole, never over an existing one. Raises FileExistsError, and what `guard` raises at the last."""
    with _durable(path, content) as temporary:
        guard()
        os.link(temporary, path)


def replace_file(path: Path, text: str) -> None:
    """Write a file whole, in place of an older one if there is one."""
    replace_files({path: text})


def replace_files(contents: Mapping[Path, str | bytes | Iterator[str]]) -> None:
    """Write files whole, in place of older ones, and none of them before the disk has taken them all.

    contents: a text, bytes, or the pieces of a text. Raises OSError where anything but a file has one of the names.
    """
    for path in contents:
        _check_is_file(path)
    with contextlib.ExitStack() as written:
        named = {path: written.enter_context(_durable(path, content)) for path, content in contents.items()}
        for path, temporary in named.items():
            try:
                temporary.replace(path)
            except OSError as error:
                error.filename = str(path)  # not the temporary one, which nobody knows
                raise


def discard_folder(folder: Path) -> None:
    """Remove a folder: out of sight in one step, under a name like a half-written one's, then file by file."""
    hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        folder.rename(hidden)
    except FileNotFoundError:
        return
    sync_folder(folder.parent)
    if hidden.is_symlink() or not hidden.is_dir():  # what a link points to is not the store's
        hidden.unlink()
    else:
        shutil.rmtree(hidden)


def files_of(folder: Path) -> list[Path]:
    """All files below a folder; not those of folders that a link leads to."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _opened(path: Path) -> BufferedReader:
    return path.open("rb")


def folder_digest(folder: Path, opened: Callable[[Path], AbstractContextManager[BufferedReader]] = _opened) -> str:
    """One digest over the names and bytes of all files below a folder. opened: opens each of them to read."""

    def digest(path: Path) -> str:
        with opened(path) as file:
            return sha256_of_file(file)

    return sha256_of({path.relative_to(folder).as_posix(): digest(path) for path in files_of(folder)})
