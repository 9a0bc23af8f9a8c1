"""ONNX models that nobody should load, in a replica of an ONNXPredictor: each is refused in words, and what they name elsewhere stays unread."""
import sysconfig

import evil_onnx
import pytest

from soma.watched import Watched

PREDICTOR = """
    class ONNXPredictor:
        def __init__(self, onnx_client, config):
            self.client = onnx_client
        def predict(self, payload, query_params):
            return [a.tolist() for a in self.client.predict(payload, **query_params)]
"""


@pytest.fixture
def made(tmp_path):
    right = tmp_path / "models/right"
    right.mkdir(parents=True)
    evil_onnx.Case("", evil_onnx.GOOD).make(str(right), "")
    return evil_onnx.make_all(str(tmp_path / "models"))


@pytest.fixture
def w(serve, made, tmp_path):
    """A replica that loads each when it is asked for, and has one of them."""
    tmp_path.chmod(0o755)
    return serve({"predictor.py": PREDICTOR}, models={"dir": {"path": str(tmp_path / "models"), "source": "s3://bucket/models"}, "cache_size": 1, "disk_cache_size": 1000},
                 env={"PYTHONPATH": sysconfig.get_path("purelib")}, **{"class": "ONNXPredictor"})


def ask(w, name):
    return w.predict([1, 1, 1, 1], path="/?model_name=%s" % name, timeout=60)


def test_all_are_refused(made, w, tmp_path):
    assert len(made) >= 200
    with Watched(tmp_path / "models/outside") as outside:
        for title, path in made:
            answer = ask(w, path.rpartition("/")[2])
            assert answer.status == 500, "%s: %s" % (title, answer.body)
            words = answer.error["message"]
            assert words.startswith("RuntimeError: s3://bucket/models/%s" % path.rpartition("/")[2]) and words.isprintable(), "%s: %r" % (title, words)
            # Newer versions look for themselves, but not all that there are.
            assert not title.startswith(evil_onnx.HIDDEN) or "ONNX Runtime 1." not in words, "%s: %s" % (title, words)
            assert outside.opened() == [], title
            assert w.process.poll() is None, title
        # What they are made of is right, and what is read there is heard of.
        assert ask(w, "right").json() == [[1, 2, 3, 4]]
        assert ask(w, "outside").json() == [[1, 1, 1, 1]]
        assert outside.opened() == ["good.onnx"]
