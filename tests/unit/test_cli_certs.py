"""`areal-mesh certs` and `tokens`: what they write, for whose eyes, and what they leave as it is."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.main import build_parser
from areal_mesh.cli.service_credentials import check_certificate, service_credentials
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.security.authority import authorities_of, is_issued_by, read_certificate
from areal_mesh.runtime.security.credentials import Credentials, find_certificate
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.runtime.security.tokens import TokenFile, holder_of
from areal_mesh.runtime.settings import SettingsError, load_settings

Command = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


@pytest.fixture
def command(folder: Path) -> Command:
    def run(*words: str) -> int:
        options = build_parser().parse_args([*words, "--folder", str(folder)])
        return int(options.run(options) or 0)

    return run


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_authority_and_a_certificate_a_service_with_its_role_and_hosts(command: Command, folder: Path) -> None:
    command("certs", "init")
    command("certs", "issue", "controller", "client", "--host", "node-1", "--host", "10.0.0.1", "--host", "fd00::1")
    command("certs", "issue", "generator", "--service-id", "generator-3", "--days", "7")
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "controller.pem": 0o600,
        "client.pem": 0o600,
        "generator-3.pem": 0o600,
    }
    controller = read_certificate((folder / "controller.pem").read_bytes())
    assert (controller.subject, controller.hosts) == (Subject("controller"), ("node-1", "10.0.0.1", "fd00::1"))
    assert read_certificate((folder / "client.pem").read_bytes()).hosts == ()
    generator = read_certificate((folder / "generator-3.pem").read_bytes())
    assert generator.subject == Subject("generator", "generator-3")
    assert {"localhost", "127.0.0.1", "::1"} <= set(generator.hosts)
    assert is_issued_by((folder / "generator-3.pem").read_bytes(), (folder / "ca.pem").read_bytes())


def test_nothing_that_is_there_is_written_over(command: Command, folder: Path) -> None:
    command("certs", "init")
    command("certs", "issue", "learner")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for words in (("init",), ("issue", "learner")):
        with pytest.raises(CommandFailed, match="is there already and is left as it is; "):
            command("certs", *words)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    command("certs", "issue", "learner", "--force")
    assert (folder / "learner.pem").read_bytes() != before["learner.pem"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(before), "nothing is left beside them"


def test_certificates_are_made_anew_for_the_same_service(command: Command, folder: Path) -> None:
    command("certs", "init")
    command("certs", "issue", "learner", "--host", "fd00::1", "--days", "3")
    command("certs", "issue", "replay")
    before = {name: (folder / f"{name}.pem").read_bytes() for name in ("learner", "replay")}
    command("certs", "rotate", "learner")
    after = {name: (folder / f"{name}.pem").read_bytes() for name in ("learner", "replay")}
    assert after["replay"] == before["replay"]
    old, new = read_certificate(before["learner"]), read_certificate(after["learner"])
    assert (new.subject, new.hosts) == (old.subject, old.hosts)
    assert new.not_after > old.not_after
    assert after["learner"].split(b"-----BEGIN PRIVATE")[1] != before["learner"].split(b"-----BEGIN PRIVATE")[1]
    command("certs", "rotate")
    assert (folder / "replay.pem").read_bytes() != before["replay"]
    with pytest.raises(CommandFailed, match=r"verifier\.pem: no such file"):
        command("certs", "rotate", "verifier")


def test_an_authority_is_changed_in_three_steps_each_of_which_leaves_everybody_trusted(
    command: Command, folder: Path
) -> None:
    command("certs", "init")
    command("certs", "issue", "learner", "client")
    first = (folder / "ca.pem").read_bytes()
    command("certs", "rotate", "--authority")
    both, of_the_first = (folder / "ca.pem").read_bytes(), (folder / "learner.pem").read_bytes()
    assert len(authorities_of(both)) == 2
    assert is_issued_by(of_the_first, both)
    with pytest.raises(
        CommandFailed, match=r"client\.pem, .*learner\.pem: of an older authority; `areal-mesh certs rot"
    ):
        command("certs", "rotate", "--drop-old")
    command("certs", "rotate")
    assert not is_issued_by((folder / "learner.pem").read_bytes(), first)
    command("certs", "rotate", "--drop-old")
    last = (folder / "ca.pem").read_bytes()
    assert len(authorities_of(last)) == 1
    assert is_issued_by((folder / "learner.pem").read_bytes(), last)
    assert not is_issued_by(of_the_first, last)


def test_the_list_says_what_has_expired(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandFailed, match=r"no ca\.pem; `areal-mesh certs init` makes an authority"):
        command("certs", "list")
    command("certs", "init")
    command("certs", "issue", "learner", "--days", "365")
    command("certs", "issue", "replay", "--days", "0.000000001")
    command("certs", "issue", "verifier", "--days", "20")
    capsys.readouterr()
    assert command("certs", "list") == 1
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows == {"ca.pem": "good", "learner.pem": "good", "replay.pem": "expired", "verifier.pem": "soon"}


def test_what_cannot_be_issued_is_said(command: Command, folder: Path) -> None:
    with pytest.raises(CommandFailed, match=r"ca\.pem: not there; `areal-mesh certs init` makes an authority"):
        command("certs", "issue", "learner")
    command("certs", "init")
    with pytest.raises(CommandFailed, match="one service has one role"):
        command("certs", "issue", "learner", "replay", "--service-id", "learner-0")
    with pytest.raises(CommandFailed, match=r"'\.\./x' is no service id"):
        command("certs", "issue", "learner", "--service-id", "../x")
    (folder / "ca.key").write_text("nothing")
    with pytest.raises(CommandFailed, match=r"ca\.key: is no PEM"):
        command("certs", "issue", "learner")


def test_a_token_is_shown_once_and_kept_by_its_digest(
    command: Command, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("tokens", "add", "anna", "--access", "operator")
    anna = capsys.readouterr().out
    command("tokens", "add", "bob", "--days", "7")
    bob = capsys.readouterr().out
    assert anna.count("\n") == bob.count("\n") == 1, "the token alone, for a file"
    path = folder / "tokens.json"
    assert mode(path) == 0o600
    assert anna.strip() not in path.read_text()
    records = TokenFile(folder).records()
    assert [(record.name, record.access) for record in records] == [("anna", "operator"), ("bob", "read-only")]
    assert holder_of(anna.strip(), records, 0.0) == records[0]
    with pytest.raises(CommandFailed, match="'anna' has a token; `areal-mesh tokens revoke anna` first"):
        command("tokens", "add", "anna")
    command("tokens", "revoke", "anna")
    assert [record.name for record in TokenFile(folder).records()] == ["bob"]
    with pytest.raises(CommandFailed, match="no token of 'anna'; there are: bob"):
        command("tokens", "revoke", "anna")
    capsys.readouterr()
    command("tokens", "list")
    shown = capsys.readouterr().out
    assert "bob" in shown
    assert "read-only" in shown
    assert bob.strip() not in shown


def test_a_service_is_refused_at_the_start_with_a_certificate_that_nobody_would_take(
    command: Command, folder: Path
) -> None:
    command("certs", "init")
    command("certs", "issue", "replay", "--host", "10.0.0.1")
    settings = load_settings("trial", [f"security.certificates={folder}", "replay.listen=10.0.0.1:0"])
    assert service_credentials(settings, "replay", "replay-0") is not None
    with pytest.raises(
        StartupError, match=r"no certificate for the learner, looked for learner-0\.pem and learner\.pem"
    ):
        service_credentials(settings, "learner", "learner-0")
    elsewhere = load_settings("trial", [f"security.certificates={folder}", "replay.listen=10.0.0.2:0"])
    with pytest.raises(
        StartupError, match=r"names 10\.0\.0\.1, and others reach the replay at 10\.0\.0\.2; `areal-mesh"
    ):
        service_credentials(elsewhere, "replay", "replay-0")
    os.rename(folder / "replay.pem", folder / "verifier.pem")
    with pytest.raises(StartupError, match=r"is for replay, not for verifier verifier-0"):
        service_credentials(settings, "verifier", "verifier-0")
    command("certs", "issue", "learner", "--days", "0.000000001")
    with pytest.raises(StartupError, match=r"UTC, and now it is .*; `areal-mesh certs rotate` makes it anew"):
        service_credentials(settings, "learner", "learner-0")
    command("certs", "issue", "generator", "--service-id", "generator-1")
    proof = Credentials(find_certificate(folder, "generator", "generator-1"))
    check_certificate(proof, "generator", "generator-1", "localhost")
    with pytest.raises(StartupError, match="is for generator/generator-1, not for generator generator-2"):
        check_certificate(proof, "generator", "generator-2", "localhost")
    command("certs", "init", "--force")
    foreign = Credentials(find_certificate(folder, "generator", "generator-1"))
    with pytest.raises(StartupError, match=r"issued by none of .*ca\.pem"):
        check_certificate(foreign, "generator", "generator-1", "localhost")


def test_beyond_loopback_a_run_has_certificates_or_says_in_as_many_words_that_it_has_none(tmp_path: Path) -> None:
    beyond = "replay.listen=10.0.0.1:0"
    with pytest.raises(
        SettingsError, match=r"beyond loopback in plain text; make certificates \(`areal-mesh certs init`"
    ):
        load_settings("trial", [beyond])
    load_settings("trial", [beyond, "plaintext_beyond_loopback=true"])
    settings = load_settings("trial", [beyond, f"security.certificates={tmp_path}"])
    assert settings.security.certificates == tmp_path
    with pytest.raises(SettingsError, match="the one is plain text, the other TLS; take one of them out"):
        load_settings("trial", [beyond, "plaintext_beyond_loopback=true", f"security.certificates={tmp_path}"])
    assert load_settings("trial").security.certificates is None
