"""``xmpp-onion completion``: what a shell needs to complete our command lines.

The shell runs us at each press of the key, with a variable that says so. Commands
and options come from the catalogue, people and rooms from the account's file: no
network, no library that takes long, and nothing is written.

Fingerprints are not completed: who verifies a device types what its owner says.
"""

import os
import sys
from typing import Final, NamedTuple

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.glance import Known, look, profiles
from xmpp_onion.places import account_folder

__all__ = ["VARIABLE", "answer", "command", "source"]

VARIABLE: Final = "_XMPP_ONION_COMPLETE"
"""Set by the shell that asks."""

_PROGRAM: Final = "xmpp-onion"
# Commands whose addresses are rooms as well.
_TO_ALL: Final = {"chat", "listen", "react", "retract", "send"}
_BASH: Final = """\
_xmpp_onion_completion() {
    local IFS=$'\\n' answer kind value
    answer=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" \\
        COMP_WORDBREAKS="$COMP_WORDBREAKS" _XMPP_ONION_COMPLETE=bash_complete "$1")
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        plain) COMPREPLY+=("$value") ;;
        esac
    done <<<"$answer"
}
complete -o nosort -F _xmpp_onion_completion xmpp-onion
"""


class _Bash(BashComplete):
    """Bash takes an address for two words: it breaks them at `@`, and at `:`.

    So the line is read as it stands, and what bash keeps is not said again.
    """

    def source(self) -> str:
        return _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        begun = words.pop() if len(words) > 1 and not line[-1:].isspace() else ""
        return words[1:], begun

    def complete(self) -> str:
        words, begun = self.get_completion_args()
        breaks = os.environ.get("COMP_WORDBREAKS", "")
        kept = next((i for i in range(len(begun), 0, -1) if begun[i - 1] in breaks), 0)
        lines = []
        for item in self.get_completions(words, begun):
            if str(item.value).startswith(begun[:kept]):
                item.value = str(item.value)[kept:]
            lines.append(self.format_completion(item))
        return "\n".join(lines)


_SHELLS: Final[dict[str, type[ShellComplete]]] = {
    "bash": _Bash,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_obj
def command(settings: Settings, shell: str) -> None:
    r"""Print what makes SHELL complete our commands, profiles, people and rooms.

    \b
    bash: eval "$(xmpp-onion completion bash)"     in ~/.bashrc
    zsh:  eval "$(xmpp-onion completion zsh)"      in ~/.zshrc, after compinit
    fish: xmpp-onion completion fish > ~/.config/fish/completions/xmpp-onion.fish
    """
    text = source(shell)
    line = {"v": 1, "event": "completion", "shell": shell, "text": text}
    settings.output.result(line, text.rstrip())


def source(shell: str) -> str:
    """Return the script for a shell."""
    nothing = click.Command(_PROGRAM)
    return _SHELLS[shell](nothing, {}, _PROGRAM, VARIABLE).source().strip() + "\n"


def answer(program: click.Command, asked: str) -> int:
    """Print what could be typed next; return the exit code.

    Args:
        program: All commands; they need not do anything.
        asked: The shell's name, and ``_complete``.
    """
    kind = _SHELLS.get(asked.removesuffix("_complete"))
    if kind is None:
        return 1
    shell = kind(program, {"obj": Settings()}, _PROGRAM, VARIABLE)
    sys.stdout.write(shell.complete() + "\n")
    return 0


# --- values -------------------------------------------------------------------------


class Wanted(NamedTuple):
    """What a value is.

    Attributes:
        metavar: How it is named in the line of usage, without its brackets.
        group: The first command on the line.
        command: The last.
    """

    metavar: str
    group: str
    command: str


def complete_value(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return what the value of an option or argument could be, if that is known."""
    metavar = param.make_metavar(ctx).replace("[", "").replace("]", "").rstrip(".")
    path = ctx.command_path.split()[1:] or [""]
    wanted = Wanted(metavar.partition("|")[0], path[0], path[-1])
    settings = ctx.find_object(Settings) or Settings()
    try:
        settings.complete()
        if param.name == "profile":
            found = profiles(settings.data_dir)
        else:
            folder = account_folder(settings.profile, settings.data_dir)
            found = [name for kind in _kinds(wanted) for name in look(folder, kind)]
    except XmppOnionError:
        return []  # the command will say what is wrong
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _kinds(wanted: Wanted) -> list[Known]:
    match wanted:
        case Wanted("ROOM"):
            return [Known.ROOMS]
        case Wanted("JID", "contact", "accept" | "refuse"):
            return [Known.REQUESTS]
        case Wanted("JID" | "TO", group) if group in _TO_ALL:
            return [Known.CONTACTS, Known.ROOMS]
        case Wanted("JID", group) if group != "account":
            return [Known.CONTACTS]
        case _:
            return []
