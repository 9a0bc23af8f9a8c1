"""A host that has loaded its model and is forked into replicas."""
import json
import os

import pytest
from hosts import Host, host_program
from test_engine_plugins import PORTS, X, built
from zygotes import FORK, FORKED, Zygote

from harness import BYE, QUERY, READY, STOP
from soma import models

pytestmark = pytest.mark.skipif("TSAN_OPTIONS" in os.environ, reason="ThreadSanitizer has a thread in every process")


@pytest.fixture
def zygote():
    made = []

    def zygote(files=(), **more):
        config = {"engine": "echo", "engine_options": {}, "model": None, **more}
        made.append(Zygote(dict(files), program=[str(host_program())], before=Host.absolute_model, env={"ORT_DISABLE_TELEMETRY": "1"}, **config))
        return made[-1]

    yield zygote
    for z in made:
        z.close()


def test_replicas_answer_and_outlive_it(zygote):
    z = zygote({"model.onnx": models.data(models.linear())}, engine="onnx", model="model.onnx")
    assert z.level() == "init"
    one, two = z.replica(), z.replica()
    assert one.process.pid != two.process.pid
    z.process.kill()
    z.process.wait()
    for replica in (one, two):
        assert replica.predict({"x": [[1, 0, 0]]}).json() == {"y": [[0.5, 0.6]]}
        replica.send(STOP, 1000)
        replica.expect(BYE)
        assert replica.process.wait(5) == 0


def test_it_answers_and_ends(zygote):
    z = zygote()
    z.level()
    z.ping()
    z.send(QUERY)
    assert json.loads(z.expect(READY)[2]) == {"level": "init"}
    z.send(FORK, 9)
    assert json.loads(z.expect(FORKED)[2]) == {"error": "Too many open files"}
    assert z.replica().predict({"x": [1]}).json() == {"x": [1]}
    fds = len(os.listdir("/proc/%d/fd" % z.process.pid))
    for _ in range(10):
        z.replica().close()
    assert len(os.listdir("/proc/%d/fd" % z.process.pid)) == fds
    z.send(STOP, 1000)
    assert z.process.wait(5) == 0


def test_a_model_that_cannot_be_loaded_fails_as_ever(zygote):
    why = zygote({"model.onnx": b"none"}, engine="onnx", model="model.onnx").failed()
    assert why["code"] == "bad_model"


ENGINE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
static void *rest(void *arg) { sleep(600); return arg; }
int begin(void);
int begin(void) { pthread_t t; return pthread_create(&t, NULL, rest, NULL); }
""" + PORTS % (X, ".open = 1", "%s")


@pytest.mark.parametrize("does, why", [
    ("begin()",
     "with the model loaded a thread of the engine's runs (soma-host)"),
    ('open("/dev/zero", O_RDONLY) < 0', "with the model loaded the engine has /dev/zero open (descriptor "),
])
def test_what_a_fork_would_not_carry(zygote, tmp_path, does, why):
    assert zygote(built(tmp_path, ENGINE % does), engine="mine.so").unsafe().startswith(why)
