"""What a run asks of its machine, as means over an iteration, under the names that MLflow's own system metrics have.

    >>> load = MachineLoad(); load.start(); load.since_last()
    {'system/cpu_utilization_percentage': 93.1, 'system/system_memory_usage_megabytes': 5123.0, …}

Switched on as MLflow's are, with MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=true; sampled every MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
seconds (10). The whole machine, not this run alone. GPUs are seen where `nvidia-ml-py` is installed.
"""

import os
import threading
from collections import defaultdict
from typing import Any

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


def wanted() -> bool:
    """Whether the environment asks for it."""
    return os.environ.get(SWITCH, "").strip().lower() in ("1", "true", "yes")


class MachineLoad:
    """Samples in a thread of its own from `start` to `stop`."""

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._gpus = _gpus()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="machine load", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def since_last(self) -> dict[str, float]:
        """The mean of every figure since this was asked before; one sample at least."""
        self._sample()
        with self._lock:
            samples, self._samples = self._samples, defaultdict(list)
        return {name: round(sum(values) / len(values), 3) for name, values in samples.items()}

    def _watch(self) -> None:
        while not self._over.wait(float(os.environ.get(INTERVAL) or 10.0)):
            self._sample()

    def _sample(self) -> None:
        import psutil

        memory = psutil.virtual_memory()
        found = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/system_memory_usage_percentage": memory.percent,
        }
        for number, gpu in enumerate(self._gpus):
            found |= _of_gpu(number, gpu)
        with self._lock:
            for name, value in found.items():
                self._samples[name].append(float(value))


def _gpus() -> list[Any]:
    try:
        import pynvml  # pyright: ignore[reportMissingImports]

        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001 - no library, no driver, no GPU: there is nothing to see
        return []


def _of_gpu(number: int, gpu: Any) -> dict[str, float]:
    import pynvml  # pyright: ignore[reportMissingImports]

    memory, load = pynvml.nvmlDeviceGetMemoryInfo(gpu), pynvml.nvmlDeviceGetUtilizationRates(gpu)
    return {
        f"system/gpu_{number}_memory_usage_megabytes": memory.used / 1e6,
        f"system/gpu_{number}_memory_usage_percentage": 100 * memory.used / memory.total,
        f"system/gpu_{number}_utilization_percentage": load.gpu,
    }
