"""How a command fails: one line for a person, and an exit code."""

EXIT_FAILED = 1


class CommandFailed(Exception):
    """The command ends with `exit_code`; the message says what is wrong, where, and what would do."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
