"""The model, alike for all: a hash in C that lets go of the GIL and takes its time here (the bench has found out how)."""
import hashlib
import os

ROUNDS = int(os.environ.get("WORK_ROUNDS", "1"))


def compute(x):
    return hashlib.pbkdf2_hmac("sha256", str(x).encode(), b"model", ROUNDS).hex()
