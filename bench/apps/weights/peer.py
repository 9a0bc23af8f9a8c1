"""peer.py HOW FILE LIBRARY: opens a file of weights as a library does, sums every byte once, and says how long that took.

HOW is safetensors, torch or fastsafetensors. What is imported is imported before.
"""
import ctypes
import json
import sys
import time

import torch

how, file, library = sys.argv[1:]
add = ctypes.CDLL(library).floor_sum
add.restype, add.argtypes = ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_size_t]


def with_safetensors():
    return load_file(file)


def with_torch():
    return torch.load(file, mmap=True, weights_only=True)


def with_fastsafetensors():
    """On the CPU, without the driver that reads into a GPU."""
    opened.append(fastsafe_open(filenames=[file], nogds=True, device="cpu"))
    loaded = opened[-1].__enter__()
    return {name: loaded.get_tensor(name) for name in loaded.keys()}


opened = []
if how == "safetensors":
    from safetensors.torch import load_file
elif how == "fastsafetensors":
    from fastsafetensors import fastsafe_open
load = {"safetensors": with_safetensors, "torch": with_torch, "fastsafetensors": with_fastsafetensors}[how]

begun = time.perf_counter()
tensors = load()
loaded_at = time.perf_counter()
total = sum(add(t.data_ptr(), t.numel() * t.element_size()) for t in tensors.values())
ended = time.perf_counter()
print(json.dumps({"ms": (ended - begun) * 1e3, "open_ms": (loaded_at - begun) * 1e3, "sum": total % (1 << 64)}))
