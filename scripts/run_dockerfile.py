"""Run the steps of the Dockerfile without a container engine.

Each stage becomes a folder that stands for the root of its file system, and a bare virtual
environment that stands for the Python of its image. RUN steps are executed there, COPY steps
copy, and at the end the image's command is started with the environment that the Dockerfile sets,
its HEALTHCHECK is run until it passes, and a SIGTERM must end it. What this does not check: the
base images, file owners, and that the process cannot write elsewhere.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.dockerfile import Stage, Step, read_stages

REPOSITORY = Path(__file__).resolve().parent.parent
# Absolute paths that the Dockerfile owns; the first folders of everything that it makes.
OWNED = re.compile(r"(?<![\w./-])(/(?:src|opt|etc|var)(?=/|\b))")
HEALTHY_WITHIN = 30  # seconds


class Image:
    """One stage while its steps are executed."""

    def __init__(self, room: Path, name: str) -> None:
        self.root = room / "root"  # the same for every stage, as "/" is
        self.kept = room / f"stage-{name}"
        self.python = room / f"python-{name}"
        self.directory = "/"
        self.environment: dict[str, str] = {}
        self.root.mkdir()
        venv.create(self.python, with_pip=True)

    def place(self, path: str) -> Path:
        """Where an absolute path, or one below the working directory, lies here."""
        return self.root / os.path.normpath(os.path.join(self.directory, path)).lstrip("/")

    def here(self, text: str) -> str:
        """Text with the owned absolute paths moved below this stage's root."""
        return OWNED.sub(rf"{self.root}\1", text)

    def variables(self) -> dict[str, str]:
        """The environment of a process here: of the caller's, only what pip needs."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("PIP_")
            or name.lower().endswith("_proxy")
            or name.endswith("_CERT_FILE")
        }
        found = {
            **passed,
            "PIP_QUIET": "1",
            "PATH": f"{self.python}/bin:/usr/bin:/bin",
            "HOME": str(self.kept.parent),
        }
        for name, value in self.environment.items():
            expanded = value.replace(f"${name}", found.get(name, ""))
            found[name] = self.here(expanded)
        return found

    def close(self) -> None:
        self.root.rename(self.kept)


def ignored(path: Path) -> bool:
    """Whether the last matching line of .dockerignore leaves a file of the repository out."""
    relative = path.relative_to(REPOSITORY).as_posix()
    prefixes = [relative, *(p.as_posix() for p in Path(relative).parents if p.as_posix() != ".")]
    verdict = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        bare = pattern.removeprefix("**/")
        if any(fnmatch.fnmatchcase(p, pattern) for p in prefixes) or (
            bare != pattern and any(Path(p).name == bare for p in prefixes)
        ):
            verdict = not line.startswith("!")
    return verdict


def copy(step: Step, image: Image, stages: dict[str, Image]) -> None:
    """Execute one COPY. A source that is not there, or is ignored, is an error."""
    *sources, target = step.words
    origin = stages[step.flag("from")].kept if step.flag("from") else REPOSITORY
    into = image.place(target)
    for source in sources:
        found = origin / source.lstrip("/")
        if not found.exists():
            raise SystemExit(f"line {step.line}: {source} is not there to be copied")
        if origin == REPOSITORY and ignored(found):
            raise SystemExit(f"line {step.line}: {source} is left out by .dockerignore")
        if found.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__") if origin == REPOSITORY else None
            shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True, ignore=leave_out)
        else:
            goal = into / found.name if target.endswith("/") else into
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, goal)


def assignments(text: str) -> dict[str, str]:
    """``A=b C=d`` of an ENV step."""
    return dict(word.split("=", 1) for word in text.split())


def execute(stage: Stage, image: Image, stages: dict[str, Image]) -> None:
    """Run the steps of one stage in order; the first that fails ends the script."""
    for step in stage.steps:
        match step.name:
            case "WORKDIR":
                image.directory = step.text
                image.place("").mkdir(parents=True, exist_ok=True)
            case "ENV":
                image.environment.update(assignments(step.text))
            case "COPY":
                copy(step, image, stages)
            case "RUN":
                print(f"  RUN {step.text}", flush=True)
                subprocess.run(
                    ["/bin/sh", "-c", image.here(step.text)],
                    cwd=image.place(""),
                    env=image.variables(),
                    stdin=subprocess.DEVNULL,
                    check=True,
                )
            case "USER" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                pass  # about the running container; see start()
            case other:
                raise SystemExit(f"line {step.line}: {other} is not known to this script")


def free_port() -> str:
    """A port that nothing listens on; the image's own may be in use on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def command(stage: Stage, instruction: str) -> list[str]:
    steps = stage.named(instruction)
    return steps[-1].words if steps else []


def start(stage: Stage, image: Image) -> None:
    """Start the image's command, wait for its health check, end it by SIGTERM."""
    variables = image.variables() | {"ECR_PROXY_SERVER_PORT": free_port()}
    folder = image.place("")
    configuration = image.place("/etc/ecr-proxy/config.toml")
    shutil.copy2(REPOSITORY / "config.example.toml", configuration)
    entry = [shutil.which(w, path=variables["PATH"]) or w for w in command(stage, "ENTRYPOINT")]
    subprocess.run(
        [*entry, "keygen", "--file", variables["ECR_PROXY_KEYS_FILE"]],
        check=True,
        env=variables,
        cwd=folder,
    )
    arguments = [image.here(word) for word in command(stage, "CMD")]
    check = [image.here(word) for word in command(stage, "HEALTHCHECK")]
    check[0] = shutil.which(check[0], path=variables["PATH"]) or check[0]
    process = subprocess.Popen(
        [*entry, *arguments], stdin=subprocess.DEVNULL, env=variables, cwd=folder
    )
    try:
        deadline = time.monotonic() + HEALTHY_WITHIN
        while subprocess.run(
            check, stderr=subprocess.DEVNULL, check=False, env=variables, cwd=folder
        ).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the image's command never became healthy")
            time.sleep(0.3)
        print("  HEALTHCHECK passes")
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
        if code != 0:
            raise SystemExit(f"after SIGTERM the command ended with {code}")
        print("  SIGTERM ends it with 0")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main() -> None:
    stages: dict[str, Image] = {}
    with tempfile.TemporaryDirectory(prefix="dockerfile-") as folder:
        found = read_stages(REPOSITORY / "Dockerfile")
        for index, stage in enumerate(found):
            name = stage.name or str(index)
            print(f"stage {name} (FROM {stage.image})", flush=True)
            image = stages[name] = Image(Path(folder), name)
            execute(stage, image, stages)
            if index + 1 < len(found):
                image.close()
        if (image.python / "bin" / "pip").exists():
            raise SystemExit("pip is still in the final image")
        start(found[-1], image)
    print("the Dockerfile's steps hold")


if __name__ == "__main__":
    main()
