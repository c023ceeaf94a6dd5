"""The Dockerfile's lines are read as Docker reads them, and what is not carried out here is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def dockerfile():
    import dockerfile

    return dockerfile


class System:
    """A folder; what would run in it is noted, and ends with `exit_code`."""

    def __init__(self, root: Path, exit_code: int = 0) -> None:
        self.root, self.exit_code = root, exit_code
        self.environment = {"PATH": "/usr/bin"}
        self.runs: list[tuple[list[str], dict]] = []

    def run(self, command, **options):
        self.runs.append((command, options))
        return self.exit_code


@pytest.fixture
def build(dockerfile, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    systems = {}

    def start(base: str, name: str) -> System:
        systems[name] = System(tmp_path / name)
        systems[name].root.mkdir()
        return systems[name]

    def run(text: str):
        return dockerfile.build(text, context, start, tmp_path / "log"), systems

    run.context = context
    return run


def test_every_line_of_the_projects_own_dockerfile_is_understood(dockerfile):
    *_, last = stages = dockerfile.parse((ROOT / "Dockerfile").read_text("utf-8"))

    assert [stage.base.startswith("python:3.") for stage in stages] == [True] * len(stages)
    assert {"CMD", "COPY", "USER", "WORKDIR"} <= {step.instruction for step in last.steps}


def test_continued_lines_are_one_and_comments_are_none(dockerfile):
    [stage] = dockerfile.parse("# syntax\nFROM a AS b\nRUN one \\\n    # between\n    && two\n")

    assert (stage.base, stage.name) == ("a", "b")
    assert [(step.instruction, step.rest) for step in stage.steps] == [("RUN", "one && two")]


def test_a_run_has_the_environment_folder_and_user_of_the_lines_before_it(build):
    image, systems = build(
        "FROM a AS last\nENV HOME=/x PATH=/opt/bin:$PATH\nWORKDIR /app\nUSER 7:8\n"
        'RUN say hello\nCMD ["go", "on"]'
    )

    [(command, options)] = systems["last"].runs
    assert command == ["/bin/sh", "-c", "say hello"]
    assert options["environment"] == {"HOME": "/x", "PATH": "/opt/bin:/usr/bin"}
    assert (options["folder"], options["user"]) == ("/app", "7:8")
    assert image.command == ["go", "on"]
    assert (image.system.root / "app").is_dir()


def test_copy_takes_folders_by_their_contents_and_files_by_their_names(build):
    (build.context / "tasks").mkdir()
    (build.context / "tasks" / "a.py").touch()
    (build.context / "README.md").touch()

    _, systems = build(
        "FROM a AS one\nWORKDIR /src\nCOPY README.md ./\nCOPY tasks tasks\nFROM b\nCOPY --from=one /src /out"
    )

    assert (systems["one"].root / "src" / "README.md").is_file()
    assert (systems["one"].root / "src" / "tasks" / "a.py").is_file()
    assert (systems["1"].root / "out" / "tasks" / "a.py").is_file()


@pytest.mark.parametrize(
    "line",
    ["RUN --mount=type=secret,id=x cat x", "COPY --chown=me a b", "ADD a b", "USER me", "COPY missing there"],
)
def test_what_is_not_carried_out_is_refused(dockerfile, build, line):
    (build.context / "a").touch()

    with pytest.raises(dockerfile.NotUnderstood):
        build(f"FROM a\n{line}\n")


def test_only_what_dockerignore_lets_in_can_be_copied(dockerfile, tmp_path):
    (tmp_path / ".dockerignore").write_text("# all\n*\n!tasks\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / ".env").touch()

    dockerfile.leave_out_ignored(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["tasks"]
