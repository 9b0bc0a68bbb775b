import pytest

from lensweep.ground.errors import InputError
from lensweep.scanner.archive.services import Services, read_services, settings_path


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("LENSWEEP_CONFIG", str(tmp_path))
    return tmp_path / "archives.toml"


def test_without_settings(settings):
    assert settings_path() == settings
    assert read_services() == Services()


def test_the_users_own_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("LENSWEEP_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_path() == tmp_path / "lensweep" / "archives.toml"


def test_settings_and_the_environment_that_wins(settings, monkeypatch):
    settings.write_text('hla = "https://hla.example.org"\nconnections = 2\ntimeout_s = 5\n')
    assert read_services() == Services("https://hla.example.org", connections=2, timeout_s=5)
    monkeypatch.setenv("LENSWEEP_ARCHIVE_HLA", "")
    monkeypatch.setenv("LENSWEEP_ARCHIVE_CONNECTIONS", "1")
    assert read_services() == Services("", connections=1, timeout_s=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hla = ", r"settings .*archives\.toml: not TOML"),
        ('hls = "x"', r"archives\.toml: unknown keys hls; known are connections, hla"),
        ('hla = "hla.stsci.edu"', "hla = 'hla.stsci.edu': must be an address"),
        ("hla = 3", "hla = 3: must be text"),
        ("connections = 0", "connections = 0: must lie within 1 and 16"),
        ("connections = 1000", "connections = 1000: must lie within 1 and 16"),
        ("connections = 1.5", r"connections = 1\.5: must be a whole number"),
        ("tries = true", "tries = True: must be a whole number"),
        ("timeout_s = nan", "timeout_s = nan: must be a finite number"),
    ],
)
def test_unfit_settings_are_refused(settings, text, message):
    settings.write_text(text)
    with pytest.raises(InputError, match=message):
        read_services()


def test_an_unfit_environment_is_refused(settings, monkeypatch):
    monkeypatch.setenv("LENSWEEP_ARCHIVE_TRIES", "many")
    with pytest.raises(InputError, match="LENSWEEP_ARCHIVE_TRIES = 'many': must be a number"):
        read_services()
