"""How a text was written: a program with the facts of its turns, from a row of the log, a journal or a stamp."""

from __future__ import annotations

from dataclasses import dataclass

from cgcli.program.program import Program
from cgcli.program.source import digest, encode, from_file


@dataclass(frozen=True)
class Recorded:
    """A program as it was written. Its turns have the facts of how they were drawn."""

    program: Program
    language: str
    before: str  # the program so far: the beginning of the prefix, or "" for a new program
    comments: bool  # whether the prompts are in the text, too
    where: str  # it was found, for the user

    @property
    def text(self) -> str:
        """The whole program as a file holds it, without stamps."""
        return self.program.source(comments=self.comments)


def file_digest(text: str) -> str:
    """The digest of a text when it is read from a file, whatever line ends it has there."""
    return digest(from_file(encode(text)))
