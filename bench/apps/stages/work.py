"""The three parts of a request, alike for all: a database is asked, a model computes, a log is written.

The model is a hash in C that lets go of the GIL, as the C code of real ones does; the bench has found out how many
rounds of it take its 20 ms here. What comes out is the request's own, and says from when to when it was computed.
"""
import asyncio
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

PRE_S, POST_S = 0.050, 0.100
ROUNDS = int(os.environ.get("WORK_ROUNDS", "1"))


def compute(x):
    begin = time.monotonic()
    digest = hashlib.pbkdf2_hmac("sha256", str(x).encode(), b"model", ROUNDS).hex()
    return f"{x} {digest} {begin:.6f} {time.monotonic():.6f}"


def wait_before():
    time.sleep(PRE_S)


def wait_after():
    time.sleep(POST_S)


async def await_before():
    await asyncio.sleep(PRE_S)


async def await_after():
    await asyncio.sleep(POST_S)


# --- for those whose framework has no slot and no "after" ---------------------

_slot = ThreadPoolExecutor(1)
_others = ThreadPoolExecutor(64)
_tasks = set()


def take_slot(x):
    return _slot.submit(compute, x).result()


async def await_slot(x):
    return await asyncio.get_running_loop().run_in_executor(_slot, compute, x)


def begin_wait_after():
    _others.submit(wait_after)


def begin_await_after():
    task = asyncio.get_running_loop().create_task(await_after())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
