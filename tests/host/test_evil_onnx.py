"""ONNX models that nobody should load, in a replica without Python: each is refused in words, and what they name elsewhere stays unread."""
import evil_onnx
from soma.watched import Watched


def test_all_are_refused(start, tmp_path):
    tmp_path.chmod(0o755)
    # A link of that name is the project's own.
    made = [(title, path) for title, path in evil_onnx.make_all(str(tmp_path / "models")) if not title.startswith("onnx: a link to ")]
    assert len(made) >= 200
    with Watched(tmp_path / "models/outside") as outside:
        for title, path in made:
            host = start(engine="onnx", model="%s/%s" % (path, evil_onnx.MODEL))
            told = host.failed()
            host.close()
            assert told["code"] in ("bad_model", "missing_file"), "%s: %s" % (title, told)
            assert told["message"].replace("\n", "").isprintable() and path in told["message"], "%s: %r" % (title, told["message"])
            # Newer versions look for themselves, but not all that there are.
            assert not title.startswith(evil_onnx.HIDDEN) or "ONNX Runtime 1." not in told["message"], "%s: %s" % (title, told)
            assert outside.opened() == [], title


def test_what_they_are_made_of_is_right(start, tmp_path):
    """It is not for another reason that they are refused. And what is read there is heard of."""
    folder = tmp_path / "right"
    folder.mkdir()
    evil_onnx.Case("", evil_onnx.GOOD).make(str(folder), "")
    with Watched(folder) as watched:
        host = start(engine="onnx", model=str(folder / evil_onnx.MODEL)).ready()
        assert host.predict({"x": [1, 1, 1, 1]}).json() == {"y": [1, 2, 3, 4]}
        assert watched.opened() == [evil_onnx.MODEL, "w.bin"]
