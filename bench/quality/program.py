"""The program under test, called as a user calls it: files in, files out."""

import json
import pathlib
import re
import subprocess
import time


class ProgramError(Exception):
    """The program refused or failed; the message has its last words."""


class Program:
    """`path` is the kindred binary; `threads` 0 means all cores."""

    def __init__(self, path, threads=0):
        self.path, self.threads = pathlib.Path(path).resolve(), threads
        if not self.path.is_file():
            raise ProgramError(f"{self.path}: no such program")
        self.help = {}

    def has(self, command, flag=None):
        """Whether the program knows the command, or the command the flag (or value) by its help text."""
        if command not in self.help:
            found = subprocess.run([self.path, command, "--help"], capture_output=True, text=True)
            self.help[command] = found.stdout if found.returncode == 0 else ""
        whole = rf"(?<![\w-]){re.escape(flag or '')}(?![\w-])"
        return bool(self.help[command]) and (flag is None or re.search(whole, self.help[command]) is not None)

    def call(self, command, *arguments):
        """(standard output, seconds)."""
        line = [str(part) for part in (self.path, command, *arguments, "--threads", self.threads)]
        start = time.monotonic()
        found = subprocess.run(line, capture_output=True, text=True)
        seconds = time.monotonic() - start
        if found.returncode:
            said = (found.stderr.strip() or found.stdout.strip())[-2000:]
            raise ProgramError(f"{' '.join(line)}\nended with {found.returncode}: {said}")
        return found.stdout, seconds

    def segment(self, interactions, queries, output, num_results, model_out, options):
        """Runs a segment job without a server; returns (seconds, the model's card)."""
        _, seconds = self.call("segment", "--interactions", interactions, "--input", queries, "--output", output,
                               "--num-results", num_results, "--model-out", model_out, *options)
        return seconds, json.loads((pathlib.Path(model_out) / "card.json").read_text())

    def evaluate(self, interactions, options):
        """(what `evaluate --json` says, seconds)."""
        text, seconds = self.call("evaluate", "--interactions", interactions, "--json", *options)
        return json.loads(text), seconds
