"""`areal-mesh completion SHELL`: a script for bash or zsh that completes commands, options, presets and runs.

Made from the parser itself, so that it knows what the command knows; no Python starts when the key is pressed.
"""

import argparse
import shlex
from collections.abc import Iterator

from areal_mesh.cli.parsing import commands_of
from areal_mesh.runtime.settings.files import preset_names

SHELLS = ("bash", "zsh")
_FILES_TOO = ("source", "sources", "file", "config", "begun_from")
"""Arguments that are presets or paths."""

_SCRIPT = """\
_areal_mesh() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" path="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path ${{COMP_WORDS[i]}}" in
{paths}
        esac
    done
    local words="" files=""
    case "$path" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [[ -n $files && $word != -* ]] && COMPREPLY+=($(compgen -f -- "$word"))
    return 0
}}
complete -o filenames -F _areal_mesh areal-mesh
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell. `eval "$(areal-mesh completion bash)"` switches it on."""
    paths, words = [], []
    for path, command in _walk(parser, ""):
        if path:
            paths.append(f'            "{path}") path="{path}" ;;')
        known, files = _words(command)
        words.append(f'        "{path}") words={shlex.quote(" ".join(known))}; files={"yes" if files else ""} ;;')
    script = _SCRIPT.format(paths="\n".join(paths), words="\n".join(words))
    return (_ZSH if shell == "zsh" else "") + script


def _walk(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield path, parser
    for name, command in commands_of(parser).items():
        yield from _walk(command, f"{path} {name}")


def _words(parser: argparse.ArgumentParser) -> tuple[list[str], bool]:
    """What may follow a command, and whether a path may."""
    known = list(commands_of(parser))
    files = False
    for action in parser._actions:
        known += [name for name in action.option_strings if name.startswith("--")]
        if action.choices and not isinstance(action, argparse._SubParsersAction):
            known += [str(choice) for choice in action.choices]
        if action.dest in _FILES_TOO:
            files = True
            known += preset_names()
    return sorted(set(known)), files
