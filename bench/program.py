"""The program under measurement, called from outside: `kindred segment` and the engine's examples.

Nothing here knows what is inside: flags and statistics are those of the contract, so any build can be
measured. Runs are pinned to one core unless `core` is None.
"""

import hashlib
import json
import os
import pathlib
import subprocess

import measure

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# No limits of lines and no minimum of data stand in the way of measuring.
SETTINGS = {"segment.max_records": 0}
CHECKSUM_DIGITS = 12


class Kindred:
    """The binary, a folder for its files, and the core that single-core runs are pinned to."""

    def __init__(self, binary, work, core):
        self.binary, self.work, self.core = pathlib.Path(binary), pathlib.Path(work), core
        if not self.binary.exists():
            raise SystemExit(f"{self.binary} is not there: cargo build --release")

    def segment(self, *arguments, threads=1, settings=None, pinned=True, keep=None):
        """One `kindred segment`; gives (measure.Run, statistics). The output goes to `keep` or away."""
        output, stats = keep or self.work / "answers.out", self.work / "stats.json"
        config = self.work / "bench.toml"
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in (SETTINGS | (settings or {})).items())
        config.write_text("".join(lines))
        config.chmod(0o600)
        done = measure.run([self.binary, "segment", "--config", config, "--output", output, "--stats", stats,
                            "--threads", threads, *arguments], self.core if pinned else None, threads)
        found = json.loads(stats.read_text())
        if keep is None:
            output.unlink()
        return done, found

    def example(self, name, *arguments):
        """Runs an example of the engine, pinned; gives (measure.Run)."""
        path = self.binary.parent / "examples" / name
        if not path.exists():
            raise SystemExit(f"{path} is not there: cargo build --release -p kindred-engine --examples")
        return measure.run([path, *arguments], self.core)

    def version(self):
        """What is measured: the program's own words, a checksum of it, and the commit of this repository,
        which need not be what another binary was built from."""
        ask = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.strip()
        git = lambda *words: ask("git", "-C", REPOSITORY, *words)
        changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        checksum = hashlib.sha256(self.binary.read_bytes()).hexdigest()[:CHECKSUM_DIGITS]
        return {"version": f"{ask(self.binary, '--version')} (binary {checksum})",
                "commit": git("rev-parse", "--short", "HEAD") + changed}


def default_binary():
    return os.environ.get("KINDRED_BIN", REPOSITORY / "target/release/kindred")
