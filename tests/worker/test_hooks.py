"""Hooks: what comes after an answer runs beside the slots."""
import threading
import time

import pytest

POST = """
    import os, threading, time

    class PythonPredictor:
        def predict(self, payload):
            if payload.get("slow"):
                time.sleep(payload["slow"])
            return payload["x"]

        def post_predict(self, payload, response):
            time.sleep(payload.get("sleep", 0))
            print("posted", response, flush=True)
            if payload.get("raise"):
                raise ValueError("no database")
"""


def test_a_slot_does_not_wait_for_post_predict(serve):
    w = serve(POST)
    began = time.monotonic()
    for x in range(10):
        assert w.predict({"x": x, "sleep": 1.5}).json() == x
    assert time.monotonic() - began < 1.5, "a predict waited for a post_predict"
    for x in range(10):
        w.wait_log("posted %d" % x)


def test_a_request_is_answered_while_another_is_after_its_answer_on_one_connection(serve):
    w = serve(POST)
    c = w.connect()
    began = time.monotonic()
    for x in range(5):
        assert w.predict({"x": x, "sleep": 1}, connection=c).json() == x
    assert time.monotonic() - began < 1


def test_post_predict_that_raises_is_told_with_its_request(serve):
    w = serve(POST)
    assert w.predict({"x": 1, "raise": 1}, headers={"x-request-id": "r7"}).json() == 1
    log = w.wait_log("no database")
    assert "\x1er7\x1fposted 1" in log and "\x1er7\x1fpost_predict failed:" in log
    assert w.predict({"x": 2}).json() == 2


def test_what_piles_up_holds_slots_back(serve):
    """64 threads, and four requests for each: what is more is not begun, and nothing is lost."""
    w = serve(POST)
    answers, n = [], 300
    def ask(first):
        c = w.connect(60)
        for x in range(first, n, 10):
            answers.append(w.predict({"x": x, "sleep": 0.5}, connection=c).json())
    began = time.monotonic()
    threads = [threading.Thread(target=ask, args=[k]) for k in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(answers) == list(range(n))
    # 300 - 256 of them had to wait for a post_predict.
    assert time.monotonic() - began >= 0.5
    for x in range(n):
        w.wait_log("posted %d\n" % x, 30)


@pytest.mark.parametrize("hooks", [1, 2])
def test_posts_that_are_tasks_have_a_bound_of_their_own(serve, tmp_path, hooks):
    """They take no thread: sixteen times as many, whatever a def is allowed."""
    gate, bound = tmp_path / "open", 64 * hooks
    w = serve("""
        import asyncio, os
        class PythonPredictor:
            def predict(self, payload):
                return payload
            async def post_predict(self, payload):
                while not os.path.exists(%r):
                    await asyncio.sleep(0.05)
    """ % str(gate), max_hooks=hooks)
    c, answers = w.connect(), []
    for x in range(bound):
        assert w.predict(x, connection=c).json() == x
    last = threading.Thread(target=lambda: answers.append(w.predict(-1).json()))
    last.start()
    time.sleep(0.3)
    assert not answers
    gate.touch()
    last.join(30)
    assert answers == [-1]


@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_finished_before_the_process_stops(serve, threads):
    w = serve(POST, threads=threads)
    for x in range(3):
        assert w.predict({"x": x, "sleep": 0.5}).json() == x
    w.send(4, 10000)  # STOP
    assert w.wait(10) == 0
    for x in range(3):
        assert "posted %d" % x in w.log


def test_one_that_hangs_is_named_when_the_grace_period_is_over(serve):
    w = serve(POST)
    assert w.predict({"x": 1, "sleep": 60}).json() == 1
    w.send(4, 300)
    assert w.wait(10) == 1
    assert "the grace period is over and a post_predict still runs" in w.log


def test_a_handlers_callable_runs_beside_the_slot_too(serve):
    w = serve(
        """
        import time

        class Handler:
            def handle_post(self, payload):
                def later():
                    time.sleep(1)
                    print("called", payload["x"], flush=True)
                return payload["x"], later
        """, **{"class": "Handler"})
    began = time.monotonic()
    for x in range(5):
        assert w.predict({"x": x}).json() == x
    assert time.monotonic() - began < 1
    w.wait_log("called 4")


def test_all_slots_go_on_after_a_pile_up(serve, tmp_path):
    gate = tmp_path / "open"
    w = serve("""
        import os, time
        class PythonPredictor:
            def predict(self, payload):
                time.sleep(payload)
                return payload
            def post_predict(self, payload):
                while not os.path.exists(%r):
                    time.sleep(0.02)
    """ % str(gate), threads=4)
    c = w.connect()
    for _ in range(256):
        assert w.predict(0, connection=c).json() == 0
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(w.predict(1).json())) for _ in range(4)]
    for t in clients:
        t.start()
    time.sleep(0.3)
    assert not answers
    began = time.monotonic()
    gate.touch()
    for t in clients:
        t.join(30)
    assert answers == [1] * 4 and time.monotonic() - began < 2.5, "slots slept while requests waited"
