"""A training in several processes, one a device: `accelerate launch` starts this module in each of them.

    python -m accelerate.commands.launch --multi_gpu --num_processes 2 … -m tasks.training.ranks …/spec.json

Without a GPU torch's own launcher does the same, since accelerate's starts several processes on devices alone. Each has the same model and takes its share of every step's rows; gradients are averaged. The first of them reports, keeps what
a resume needs, and writes the checkpoint. `STARLOOP_ACCELERATE` names a configuration file of accelerate's own (FSDP,
DeepSpeed, several machines), which is then given in place of the flags here. All of them end when their launcher does.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from storage import errors
from storage.errors import TrainingFault
from tasks.training.spec import TrainingSpec

CONFIG = "STARLOOP_ACCELERATE"
FAULT = "fault.json"
LOG_LINES = 5
Progress = Callable[[dict[str, Any]], None]


def rank() -> int:
    """Which of the processes this is; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def command(spec_path: str, spec: TrainingSpec, accelerators: int) -> list[str]:
    """The command that trains a spec in its processes, on `accelerators` GPUs, or without any on the CPU.

    Raises TrainingFault where there are fewer than one a process.
    """
    recipe = spec.recipe
    launch = [sys.executable, "-P", "-m", "accelerate.commands.launch"]
    module = ["-m", "tasks.training.ranks", spec_path]
    if config := os.environ.get(CONFIG):
        if not Path(config).is_file():
            raise TrainingFault(f"{CONFIG} is {config}, which is no file; give accelerate's configuration, or unset it")
        return [*launch, "--config_file", config, *module]
    if 0 < accelerators < recipe.processes:
        raise TrainingFault(
            f"processes = {recipe.processes}, but there are {accelerators} GPUs here; set training.processes to that"
        )
    if not accelerators:
        torchrun = [sys.executable, "-P", "-m", "torch.distributed.run"]
        return [*torchrun, "--standalone", "--nproc_per_node", str(recipe.processes), *module]
    return [
        *launch,
        "--multi_gpu", "--num_processes", str(recipe.processes), "--num_machines", "1", "--main_process_port", "0",
        "--mixed_precision", "bf16" if recipe.dtype == "bfloat16" else "no", "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", str(max(1, spec.threads // recipe.processes)),
        *module,
    ]  # fmt: skip


def launch(spec_path: str, spec: TrainingSpec, progress: Progress) -> None:
    """Start the processes, hand on what the first of them reports, and wait. Raises what they raised, as a TrainingFault."""
    import torch

    work = Path(spec.work)
    (work / FAULT).unlink(missing_ok=True)
    log = work / "ranks.log"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with log.open("wb") as errors_of, subprocess.Popen(
        command(spec_path, spec, torch.cuda.device_count()), stdout=subprocess.PIPE, stderr=errors_of, env=environment,
        text=True, preexec_fn=end_with_parent,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith('{"step"'):
                progress(json.loads(line))
    if running.returncode:
        raise fault_of(work / FAULT, log, running.returncode)


def main(spec_path: str) -> None:
    """One of the processes."""
    end_with_parent()

    def report(message: dict[str, Any]) -> None:
        if rank() == 0:
            print(json.dumps(message), flush=True)  # noqa: T201 - read by the launcher

    try:
        import_module(TrainingSpec.read(spec_path).recipe.trainer).run(spec_path, report)
    except errors.StarloopError as fault:
        if rank() == 0:
            path = Path(TrainingSpec.read(spec_path).work) / FAULT
            path.write_text(json.dumps({"fault": type(fault).__name__, "sentence": str(fault)}), encoding="utf-8")
        sys.exit(1)


def end_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def fault_of(told: Path, log: Path, status: int) -> errors.StarloopError:
    """What the first process wrote down of its own fault, else the end of the log."""
    try:
        message = json.loads(told.read_text(encoding="utf-8"))
        return getattr(errors, message["fault"], TrainingFault)(message["sentence"])
    except (OSError, ValueError, KeyError):
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        end = "".join(f"\n    {line}" for line in lines[-LOG_LINES:]) or " (it is empty)"
        return TrainingFault(f"the processes of a training ended with status {status}; the end of {log}:{end}")


if __name__ == "__main__":
    main(sys.argv[1])
