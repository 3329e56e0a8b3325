"""`login`: a key goes from the keyboard into a private file, and nowhere else."""

from __future__ import annotations

import io
import stat

import pytest

from runway_node.settings import load_settings, settings_path

KEY = "key_canary0123456789"


@pytest.fixture
def typed(monkeypatch):
    """Gives the program something on stdin."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_key_is_kept_for_its_owner_alone(program, typed):
    """Mode 0600, and the settings have it; it is on no stream."""
    typed(f"{KEY}\n")
    code, out, err = program("login", "--provider", "cometapi")
    assert code == 0
    assert KEY not in out + err
    assert stat.S_IMODE(settings_path().stat().st_mode) == 0o600
    assert load_settings().key("cometapi").get_secret_value() == KEY


def test_other_settings_stay(program, typed):
    """Comments, other keys and tables too; an older key of the same provider is replaced."""
    before = '# mine\nmax_credits = 5\ncometapi_key = "old"\n\n[[models]]\nprovider = "runway"\nname = "aleph2"\n'
    settings_path().write_text(before)
    settings_path().chmod(0o600)
    typed(KEY)
    assert program("login", "--provider", "cometapi")[0] == 0
    text = settings_path().read_text()
    assert text == f'cometapi_key = "{KEY}"\n' + before.replace('cometapi_key = "old"\n', "")


def test_a_key_is_forgotten(program, typed):
    """And the rest of the file is not."""
    typed(KEY)
    program("login", "--provider", "cometapi")
    assert program("login", "--provider", "cometapi", "--forget")[0] == 0
    assert KEY not in settings_path().read_text()
    assert not load_settings().has_key("cometapi")


def test_a_key_that_is_refused_is_not_kept(program, typed, runway_sandbox, monkeypatch):
    """Where the provider can be asked for free, a wrong one does not replace a right one."""
    monkeypatch.setenv("RUNWAYML_BASE_URL", runway_sandbox.url)
    typed("key_wrong0123456789")
    code, _, err = program("login", "--provider", "runway")
    assert code != 0
    assert "key_wrong" not in err
    assert not settings_path().exists()


def test_a_key_that_works_is_told_with_its_balance(program, typed, runway_sandbox, monkeypatch):
    """The person sees at once that it is the right account."""
    monkeypatch.setenv("RUNWAYML_BASE_URL", runway_sandbox.url)
    typed("sandbox-key")
    code, out, _ = program("login", "--provider", "runway")
    assert code == 0
    assert "it works: 100000 credits are left" in out


def test_a_variable_that_hides_it_is_told(program, typed, monkeypatch):
    """The environment comes before the file."""
    monkeypatch.setenv("COMETAPI_KEY", "another")
    typed(KEY)
    assert "COMETAPI_KEY is set" in program("login", "--provider", "cometapi")[2]


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        ((), KEY, "It is not said whose key it is"),
        (("--provider", "pika"), KEY, "There is no provider 'pika'"),
        (("--provider", "cometapi"), "\n", "No key was given"),
        (("--provider", "cometapi"), "two words\n", "one line of ASCII without spaces"),
    ],
)
def test_what_is_no_key_is_wrong_use(program, typed, words, text, said):
    """Nothing is written."""
    typed(text)
    code, _, err = program("login", *words)
    assert (code, said in err) == (2, True)
    assert not settings_path().exists()
