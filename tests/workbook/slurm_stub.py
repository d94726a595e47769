"""Slurm's commands as far as submitit uses them: jobs run at once, on this machine, each "node" as a process.

``install`` puts them on a PATH; the folder that ``SLURM_STUB`` names keeps scripts (``17.sh``), states (``17.state``),
processes (``17.tasks``) and what happened (``events``).
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

NAMES = ("sbatch", "srun", "sacct", "squeue", "scontrol", "scancel")
FIRST = 17


def install(folder: Path) -> Path:
    """Write the commands into ``folder/bin``; returns the folder of their states."""
    (folder / "bin").mkdir(parents=True)
    for name in NAMES:
        path = folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} {name} "$@"\n')
        path.chmod(0o755)
    (folder / "states").mkdir()
    return folder / "states"


def state_folder() -> Path:
    return Path(os.environ["SLURM_STUB"])


def note(event: str, job: str) -> None:
    with (state_folder() / "events").open("a") as file:
        file.write(f"{event} {job}\n")


def set_state(job: str, state: str) -> None:
    (state_folder() / f"{job}.state").write_text(state)


def detached(*words: str) -> None:
    null = subprocess.DEVNULL
    command = [sys.executable, "-S", __file__, *words]
    subprocess.Popen(command, start_new_session=True, stdin=null, stdout=null, stderr=null)


def sbatch(script: str) -> None:
    if os.environ.get("SLURM_STUB_REFUSES"):
        sys.exit("sbatch: error: invalid partition specified")
    job = str(FIRST + len(list(state_folder().glob("*.sh"))))
    (state_folder() / f"{job}.sh").write_text(Path(script).read_text())
    set_state(job, "PENDING")
    note("submitted", job)
    if not os.environ.get("SLURM_STUB_HOLDS"):
        detached("run", job)
    print(f"Submitted batch job {job}")


def run(job: str) -> None:
    """What slurmctld and slurmd do."""
    script = state_folder() / f"{job}.sh"
    nodes = re.search(r"--nodes=(\d+)", script.read_text())
    number = nodes[1] if nodes else "1"
    environment = os.environ | {
        "SLURM_JOB_ID": job, "SLURM_JOB_NUM_NODES": number, "SLURM_NTASKS": number, "PMI_SIZE": number,
        "SLURM_JOB_NODELIST": "localhost",
    }  # fmt: skip
    while True:
        set_state(job, "RUNNING")
        note("started", job)
        process = subprocess.Popen(["bash", str(script)], env=environment, start_new_session=True)
        (state_folder() / f"{job}.group").write_text(str(process.pid))
        code = process.wait()
        requeued, cancelled = ((state_folder() / f"{job}.{word}") for word in ("requeue", "cancel"))
        if not requeued.exists():
            break
        requeued.unlink()
    set_state(job, "CANCELLED" if cancelled.exists() else "FAILED" if code else "COMPLETED")
    note("ended", job)


def srun(*given: str) -> None:
    values, words = {}, list(given)
    while words[0].startswith("-"):
        option = words.pop(0)
        values[option] = words.pop(0) if option != "--unbuffered" else ""
    job, tasks = os.environ["SLURM_JOB_ID"], []
    for node in range(int(os.environ["SLURM_JOB_NUM_NODES"])):
        place = {"SLURM_PROCID": str(node), "SLURM_NODEID": str(node), "SLURM_LOCALID": "0", "PMI_RANK": str(node)}
        streams = [
            os.open(values[option].replace("%j", job).replace("%t", str(node)), os.O_APPEND | os.O_CREAT | os.O_WRONLY)
            for option in ("--output", "--error")
        ]
        tasks.append(subprocess.Popen(words, env=os.environ | place, stdout=streams[0], stderr=streams[1]))
    (state_folder() / f"{job}.tasks").write_text(" ".join(str(task.pid) for task in tasks))
    sys.exit(max(abs(task.wait()) for task in tasks))


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")
    for job in (value for option, value in itertools.pairwise(words) if option == "-j"):
        print(f"{job}|{(state_folder() / f'{job}.state').read_text()}|localhost")


def squeue(*words: str) -> None:
    print("JOBID STATE")


def scontrol(verb: str, job: str) -> None:
    assert verb == "requeue"
    note("requeued", job)
    (state_folder() / f"{job}.requeue").touch()
    detached("end", group_of(job))


def scancel(job: str) -> None:
    note("cancelled", job)
    (state_folder() / f"{job}.cancel").touch()
    if (state_folder() / f"{job}.group").exists():
        detached("end", group_of(job))
    else:
        set_state(job, "CANCELLED")


def group_of(job: str) -> str:
    """The processes of a job now; begun anew, it has others."""
    return (state_folder() / f"{job}.group").read_text()


def end(group: str) -> None:
    """SIGTERM, then SIGKILL, to all processes of a job."""
    time.sleep(0.5)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(int(group), number)
        time.sleep(5)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
