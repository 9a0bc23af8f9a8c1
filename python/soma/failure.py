"""Why a predictor cannot serve, in words for the person who wrote it."""
import os
import traceback

TRACEBACK_MAX = 24 * 1024  # characters: JSON makes up to six bytes of one, and a frame holds 160 KiB
MESSAGE_MAX = 1000

HERE = os.path.dirname(os.path.abspath(__file__))

# Packages that are not called as their modules are.
PACKAGES = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "google.protobuf": "protobuf",
    "jwt": "pyjwt",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


class Failure(Exception):
    """What a FAILED frame says."""

    def __init__(self, code, message, remedy, trace=""):
        super().__init__(message)
        if len(message) > MESSAGE_MAX:
            message = message[:MESSAGE_MAX] + "..."
        self.code, self.message, self.remedy = code, message, remedy
        if len(trace) > TRACEBACK_MAX:
            trace = "...\n" + trace[-TRACEBACK_MAX:]
        self.trace = trace

    def as_dict(self):
        return {"code": self.code, "message": self.message, "traceback": self.trace, "remedy": self.remedy}

    def in_a_line(self):
        return "%s: %s" % (self.message, self.remedy)

    def for_log(self):
        return "%ssoma: %s\nsoma: remedy: %s\n" % (self.trace, self.message, self.remedy)


def package_of(module):
    """The package to install for a module."""
    return PACKAGES.get(module, PACKAGES.get(module.split(".")[0], module.split(".")[0]))


def trace_of(error):
    """The traceback from the user's first frame on: neither ours nor importlib's."""
    tb = error.__traceback__
    while tb is not None and (os.path.dirname(tb.tb_frame.f_code.co_filename) == HERE or "importlib" in tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb))


def short(error):
    return traceback.format_exception_only(type(error), error)[-1].strip()


def user():
    import pwd

    try:
        return "user %s" % pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "user %d" % os.geteuid()
