#!/usr/bin/env python3
"""Hold commit messages to their form: a subject of at most 72 characters, then an empty line.

    deploy/commit_subject.py FILE              a message, as git hands it to a commit-msg hook
    deploy/commit_subject.py --since REVISION  every commit that REVISION has not

Any Python 3 runs it.
"""

import subprocess
import sys

LONGEST_SUBJECT = 72
# What git writes below the message of `git commit --verbose`.
SCISSORS = "# ------------------------ >8 ------------------------"


def faults(message: str) -> list[str]:
    """What is wrong with a message, one line a fault."""
    lines = message.strip("\n").split("\n")
    subject = lines[0].strip()
    found = []
    if not subject:
        found.append("no subject; say what the commit does")
    if len(subject) > LONGEST_SUBJECT:
        found.append(f"{len(subject)} characters in the subject, {LONGEST_SUBJECT} at most; shorten it: {subject}")
    if len(lines) > 1 and lines[1].strip():
        found.append("the second line is not empty; put an empty one between subject and body")
    return found


def as_committed(draft: str) -> str:
    """A message without what git takes out of it: comments, and all below the scissors."""
    lines = draft.split(SCISSORS)[0].split("\n")
    return "\n".join(line for line in lines if not line.startswith("#"))


def messages_since(revision: str) -> "dict[str, str]":
    """Messages of the commits on HEAD that the revision has not, by short id; those of merges are git's own."""
    log = ["git", "log", "--no-merges", "--format=%h%n%B%x00", revision + "..HEAD", "--"]
    output = subprocess.run(log, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8", "replace")
    commits = [part.strip("\n") for part in output.split("\0") if part.strip()]
    return {commit.split("\n", 1)[0]: commit.split("\n", 1)[1] for commit in commits}


def main(arguments: "list[str]") -> int:
    """Print the faults and return 1 where there are any."""
    if len(arguments) == 2 and arguments[0] == "--since":
        messages = messages_since(arguments[1])
    elif len(arguments) == 1 and not arguments[0].startswith("-"):
        with open(arguments[0], encoding="utf-8") as file:
            messages = {"the message": as_committed(file.read())}
    else:
        print(__doc__, file=sys.stderr)
        return 2
    found = [f"{name}: {fault}" for name, message in messages.items() for fault in faults(message)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
