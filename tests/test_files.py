"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from harness.files import folder_digest, replace_file, replace_files, sync_tree, write_new


def names_below(folder: Path) -> list[str]:
    """Every file and folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("broken", ["fsync", "link"])
def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, refuse)
        with pytest.raises(OSError, match="No space"):
            write_new(tmp_path / "new" / "file", "text")
    assert names_below(tmp_path) == ["new"]


def test_a_failed_replacement_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.json"
    replace_file(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            replace_file(path, "new")
    assert (names_below(tmp_path), path.read_text()) == (["study.json"], "old")
    replace_file(path, "new")
    assert (names_below(tmp_path), path.read_text()) == (["study.json"], "new")


def test_a_folders_digest_is_of_names_and_bytes_and_not_of_its_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "sub" / "x").write_text("1")
        (tmp_path / place / "y").write_text("2")
    here, there = tmp_path / "here", tmp_path / "there"
    digest = folder_digest(here)
    assert digest == folder_digest(there)
    (there / "y").write_text("3")
    assert folder_digest(there) != digest
    (there / "y").write_text("2")
    (there / "sub" / "x").rename(there / "x")
    assert folder_digest(there) != digest


def test_several_files_are_replaced_together_or_none_of_them_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {tmp_path / "a.md": "text", tmp_path / "new" / "b.png": b"\x89 bytes", tmp_path / "c": "more"}
    (tmp_path / "a.md").write_text("old")
    sync, calls = os.fsync, 0

    def fill(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # of the last file
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        with pytest.raises(OSError, match="No space") as caught:
            replace_files(contents)
    assert caught.value.filename == str(tmp_path / "c")
    assert names_below(tmp_path) == ["a.md", "new"]
    assert (tmp_path / "a.md").read_text() == "old"
    replace_files(contents)
    assert {path: path.read_bytes() for path in contents} == {
        path: content if isinstance(content, bytes) else content.encode() for path, content in contents.items()
    }
    assert names_below(tmp_path) == ["a.md", "c", "new", "new/b.png"]


def test_only_a_file_is_replaced_and_nothing_is_written_beside_what_is_none(tmp_path: Path) -> None:
    """As root a rename over /dev/null would succeed, and take it from everybody."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    before = names_below(tmp_path)
    for name, said in (("pipe", "no regular file"), ("folder", "Is a directory"), ("link", "no regular file")):
        with pytest.raises(OSError, match=said) as raised:
            replace_files({tmp_path / "first": "1", tmp_path / name: "2"})
        assert raised.value.filename == str(tmp_path / name)
        assert names_below(tmp_path) == before
    with pytest.raises(OSError, match="Is a directory"):
        replace_file(Path("."), "x")


@pytest.mark.parametrize("folder", ["/dev", "/proc/123/fd"])
def test_a_name_of_what_a_process_has_open_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """/dev/stdout is a link to /proc/self/fd/1, which is a link to a file where output goes to one."""
    (tmp_path / "page").write_text("what was printed")
    (tmp_path / "stdout").symlink_to("page")
    monkeypatch.setattr(os.path, "realpath", lambda path: folder if path == tmp_path else os.path.abspath(path))
    with pytest.raises(OSError, match="no regular file"):
        replace_file(tmp_path / "stdout", "x")
    assert (tmp_path / "stdout").is_symlink()


def test_a_link_to_a_file_or_to_nothing_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "dangling").symlink_to("gone")
    replace_files({tmp_path / "link": "new", tmp_path / "dangling": "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "link": "new",
        "dangling": "new",
        "other": "kept",
    }


def test_an_error_names_the_file_and_not_its_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(path: Path, mode: str = "r", **_: object) -> object:
        if mode == "xb":
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match="Read-only") as raised:
        replace_file(tmp_path / "page.md", "x")
    assert raised.value.filename == str(tmp_path / "page.md")


def test_a_file_of_a_tree_is_as_open_as_its_folder(tmp_path: Path) -> None:
    """Some libraries write a file for its owner alone, whatever the umask says; in a group's store others read it."""
    for name, folder_mode, file_mode, expected in (
        ("group", 0o2775, 0o600, 0o664),
        ("private", 0o700, 0o600, 0o600),
        ("readable", 0o755, 0o600, 0o644),
        ("program", 0o755, 0o700, 0o744),
    ):
        file = tmp_path / name / "sub" / "model"
        file.parent.mkdir(parents=True)
        file.write_text("x")
        file.chmod(file_mode)
        file.parent.chmod(folder_mode)
        sync_tree(tmp_path / name)
        assert file.stat().st_mode & 0o7777 == expected, name
