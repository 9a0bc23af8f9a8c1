import time

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Numbers(BaseModel):
    x: list[float]
    sleep: float = 0
    spin: float = 0


def predict(numbers):
    if numbers.sleep:
        time.sleep(numbers.sleep)
    end = time.monotonic() + numbers.spin
    while time.monotonic() < end:
        pass
    return {"sum": sum(numbers.x)}


@app.post("/def")
def sync_sum(numbers: Numbers):
    return predict(numbers)


@app.post("/async")
async def async_sum(numbers: Numbers):
    return predict(numbers)


@app.get("/health")
async def health():
    return {"ok": True}
