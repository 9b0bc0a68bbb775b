import os

from lensweep.ground.files import flush, whole_file


def test_writers_of_one_file_never_share_what_is_aside(tmp_path):
    """Processes of two machines may have the same number."""
    path = tmp_path / "a.json"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        for aside, text in ((first, "first"), (second, "second")):
            # As `lensweep.scanner.run.opening` sweeps them.
            assert aside.match(".*.partial")
            aside.write_text(text)
    # Each was whole; the outer one ended last.
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_files_and_folders_are_flushed(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    inodes, fsync = [], os.fsync

    def noting(opened):
        inodes.append(os.fstat(opened).st_ino)
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noting)
    flush([tmp_path / "a", tmp_path])
    assert sorted(inodes) == sorted(path.stat().st_ino for path in (tmp_path / "a", tmp_path))
