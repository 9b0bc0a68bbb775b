"""One command at a time in a run's folder: refused, taken over, raced for, lost."""

import dataclasses
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import lensweep
from lensweep.ground.errors import InputError
from lensweep.scanner.run import lock
from lensweep.scanner.run.lock import HeldError, LockLostError, read_holder, sole_writer
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.status import show_status

HOLD = (
    "import sys\n"
    "from lensweep.scanner.run.lock import sole_writer\n"
    "from lensweep.scanner.run.paths import RunPaths\n"
    "with sole_writer(RunPaths.at(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture(params=["folder", "bucket"])
def paths(request, tmp_path):
    where = tmp_path if request.param == "folder" else request.getfixturevalue("store")
    return RunPaths.at(f"{where}/run")


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    for name, seconds in (("BEAT_S", 0.05), ("POLL_S", 0.05), ("GONE_S", 0.6), ("SETTLE_S", 0.3)):
        monkeypatch.setattr(lock, name, seconds)


def quiet(_words):
    pass


def written(paths, **changes):
    """The record of a holder like this process, but for `changes`."""
    holder = dataclasses.replace(lock._this_process(), **changes)
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.lock.write_text(json.dumps(dataclasses.asdict(holder)))
    return holder


def test_the_second_is_told_who_holds_it(paths):
    with sole_writer(paths):
        holder = read_holder(paths.root)
        with (
            pytest.raises(HeldError, match=f"process {holder.pid} on {holder.host}, since 20.*UTC"),
            sole_writer(paths),
        ):
            pass
        assert read_holder(paths.root) == holder
    assert read_holder(paths.root) is None
    with sole_writer(paths):
        pass


def test_a_command_that_is_killed_is_followed_at_once(tmp_path):
    paths = RunPaths(tmp_path / "run")
    command = [sys.executable, "-c", HOLD, str(paths.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(HeldError), sole_writer(paths):
            pass
        process.kill()
        # Not waited for yet: its number is taken still, by what is left of it.
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        with sole_writer(paths, pytest.fail):
            pass
    with sole_writer(paths, pytest.fail):
        pass


def test_a_number_that_another_process_has_by_now(tmp_path):
    paths = RunPaths(tmp_path / "run")
    written(paths, started=psutil.Process().create_time() - 1000.0)
    with sole_writer(paths, pytest.fail) as hold:
        hold()


@pytest.mark.parametrize("elsewhere", [{"host": "node7"}, {"pids": "another boot"}], ids=str)
def test_a_holder_elsewhere_that_gives_no_sign_of_life(paths, elsewhere):
    said = []
    holder = written(paths, **elsewhere)
    with sole_writer(paths, said.append):
        assert read_holder(paths.root) != holder
    assert len(said) == 1
    assert f"held by {holder}; waiting up to 0.6 s for a sign of life" in said[0]


def test_a_holder_elsewhere_that_is_alive(paths, monkeypatch):
    """One whose file is touched, as by the thread of `sole_writer` on its host."""
    monkeypatch.setattr(lock, "GONE_S", 20.0)
    mine = json.dumps(dataclasses.asdict(written(paths, host="node7")))
    ended = threading.Event()
    beating = threading.Thread(target=lock._beat, args=(paths.lock, mine, ended, ended))
    beating.start()
    with pytest.raises(HeldError, match="on node7"), sole_writer(paths, quiet):
        pass
    ended.set()
    beating.join()


@pytest.mark.parametrize("text", ["", '{"host": "a'], ids=["empty", "half"])
def test_a_record_that_was_never_finished(paths, text):
    written(paths)
    paths.lock.write_text(text)
    with sole_writer(paths, quiet) as hold:
        hold()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_has_it(tmp_path, stale):
    paths, n = RunPaths(tmp_path / "run"), 8
    if stale:
        written(paths, pid=2**22 + 1)  # more than Linux gives
    ready, done = threading.Barrier(n), threading.Barrier(n)

    def try_it(_):
        ready.wait()
        try:
            with sole_writer(paths, quiet) as hold:
                done.wait()
                hold()
                return True
        except HeldError:
            done.wait()
            return False

    with ThreadPoolExecutor(n) as pool:
        assert sum(pool.map(try_it, range(n))) == 1


def test_who_was_taken_for_dead_stops(paths):
    with sole_writer(paths) as hold:
        hold()
        other = written(paths, host="node7")
        for _ in range(400):
            try:
                hold()
            except LockLostError as error:
                assert f"{other} has taken it over" in str(error)
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("it never noticed")
    # What is another's is left alone.
    assert read_holder(paths.root) == other


def test_nothing_is_left_of_a_command_that_is_refused(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match="nothing"):
        lensweep.scan("a.fits", out, ensemble=str(tmp_path / "nothing"))
    assert not out.exists()
    out.mkdir()
    with pytest.raises(InputError, match="nothing"):
        lensweep.scan("a.fits", out, ensemble=str(tmp_path / "nothing"))
    assert not list(out.iterdir())


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="cannot be written to"),
        sole_writer(RunPaths(tmp_path / "file" / "run")),
    ):
        pass


def test_a_scan_is_refused_before_anything_starts(tmp_path, tiny_bundle, capsys):
    """Also before it says that its time is when the command was last given."""
    root = tmp_path / "run"
    with sole_writer(RunPaths(root)):
        RunPaths(root).run.write_text('{"asked": {"mosaics": []}}')
        before = RunPaths(root).run.stat().st_mtime_ns
        with pytest.raises(HeldError):
            lensweep.scan("a.fits", root, ensemble=str(tiny_bundle))
        assert RunPaths(root).run.stat().st_mtime_ns == before
        show_status(root)
        assert f"command   {read_holder(root)}" in capsys.readouterr().out
    show_status(root)
    assert "no command is at it" in capsys.readouterr().out


def test_a_run_that_was_taken_over_ends(client, tiny_bundle, field, tmp_path):
    from conftest import scan_here

    class TakenError(Exception):
        pass

    calls = []

    def hold():
        calls.append(None)
        if len(calls) > 3:
            raise TakenError

    with pytest.raises(TakenError):
        scan_here(client, tiny_bundle, [field], tmp_path / "run", hold=hold)
    assert not RunPaths(Path(tmp_path / "run")).candidates.exists()
