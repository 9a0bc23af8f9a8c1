"""An NVIDIA GPU: replicas see and use it, and give it back. Left out where there is none."""

import os
import pathlib
import random
import signal
import subprocess

import numpy as np
import pytest

from soma import models, projects
from soma.waiting import wait_for

# libonnxruntime.so of onnxruntime-gpu, with its providers beside it, and where CUDA's libraries lie.
RUNTIME, LIBRARIES = os.environ.get("SOMA_TEST_ONNXRUNTIME_GPU"), os.environ.get("SOMA_TEST_CUDA_LIBRARIES", "")

needs_gpu = pytest.mark.skipif(not pathlib.Path("/dev/nvidiactl").exists(), reason="there is no NVIDIA GPU here")
needs_runtime = pytest.mark.skipif(not RUNTIME, reason="SOMA_TEST_ONNXRUNTIME_GPU names no onnxruntime-gpu")

# The driver's own interface: CUDA, but nothing of it to install.
ON_THE_DEVICE = """
import ctypes

SIZE = 1 << 20

class PythonPredictor:
    def __init__(self, config):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        device, name = ctypes.c_int(), ctypes.create_string_buffer(100)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDeviceGetName", name, 100, device)
        self.name, self.context, self.memory = name.value.decode(), ctypes.c_void_p(), ctypes.c_uint64()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), device)
        self.call("cuCtxSetCurrent", self.context)
        self.call("cuMemAlloc_v2", ctypes.byref(self.memory), ctypes.c_size_t(config.get("mib", 1) * SIZE))

    def call(self, name, *arguments):
        code = getattr(self.cuda, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: {code}")

    def predict(self, payload):
        there, back = payload["text"].encode(), ctypes.create_string_buffer(SIZE)
        self.call("cuCtxSetCurrent", self.context)
        self.call("cuMemcpyHtoD_v2", self.memory, there, ctypes.c_size_t(len(there)))
        self.call("cuMemcpyDtoH_v2", back, self.memory, ctypes.c_size_t(len(there)))
        return {"gpu": self.name, "text": back.raw[:len(there)].decode()}
"""


def ask_driver(what):
    return subprocess.run(["nvidia-smi", f"--query-{what}", "--format=csv,noheader,nounits"], capture_output=True, text=True,
                          check=True).stdout.split("\n")[:-1]


def used_mib():
    return int(ask_driver("gpu=memory.used")[0])


def on_the_device(daemon, name, **config):
    daemon.admin.deploy(projects.python_project(ON_THE_DEVICE, projects.python_api(name, predictor={"config": config})))


@needs_gpu
def test_a_replica_uses_the_gpu_of_the_machine(daemon):
    on_the_device(daemon, "device")
    answer = daemon.admin.post("/device", json={"text": "there and back"})
    assert answer.json() == {"gpu": ask_driver("gpu=name")[0], "text": "there and back"}


@needs_gpu
def test_memory_of_the_gpu_comes_back_with_the_replica(daemon):
    before = used_mib()
    on_the_device(daemon, "holder", mib=2048)
    assert used_mib() >= before + 2048
    (pid,) = daemon.admin.pids("holder")
    os.kill(pid, signal.SIGKILL)
    wait_for("another replica", lambda: daemon.admin.pids("holder") not in ([], [pid]), 60)
    assert daemon.admin.post("/holder", json={"text": "again"}).json()["text"] == "again"
    assert before + 2048 <= used_mib() < before + 4096
    daemon.admin.delete("holder")
    wait_for("the memory to come back", lambda: used_mib() < before + 1024, 60)


def native(name, model, provider, **keys):
    predictor = {"type": "onnx", "model": f"{name}.onnx", "execution_provider": provider, "onnxruntime": RUNTIME,
                 "env": {"LD_LIBRARY_PATH": LIBRARIES}, **keys}
    return {"soma.yaml": projects.yaml_value([{"name": name, "predictor": predictor}]), f"{name}.onnx": models.data(model)}


@needs_gpu
@needs_runtime
@pytest.mark.parametrize("batching", [{}, {"server_side_batching": {"max_batch_size": 16, "batch_interval": "5ms"}}])
def test_a_native_model_runs_on_cuda(daemon, batching):
    name, rows = f"cuda{len(batching)}", [[random.Random(i).uniform(-1, 1) for _ in range(512)] for i in range(64)]
    daemon.admin.deploy(native(name, models.linear(512, 64), "cuda", **batching))
    (pid,) = daemon.admin.pids(name)
    assert str(pid) in ask_driver("compute-apps=pid")
    daemon.admin.deploy(native("host", models.linear(512, 64), "cpu"))
    for row in rows:
        there, here = (daemon.admin.post(f"/{api}", json={"x": [row]}).json()["y"] for api in (name, "host"))
        # The tensor cores round what they multiply to 10 bits, and w reaches 3276.
        assert np.allclose(there, here, rtol=1e-2, atol=20)


@needs_runtime
@pytest.mark.skipif("libcublasLt.so" in subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout,
                    reason="CUDA's libraries are among the system's")
def test_cuda_without_its_libraries_says_where_they_go(daemon):
    told = str(daemon.admin.deploy_failing(native("bare", models.linear(), "cuda", env={})))
    assert "libcublasLt.so" in told and "predictor.env: {LD_LIBRARY_PATH: FOLDER:FOLDER}" in told
