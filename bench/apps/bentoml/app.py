import time

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Sum:
    @bentoml.api
    def sum(self, x: list[float], sleep: float = 0, spin: float = 0) -> dict:
        if sleep:
            time.sleep(sleep)
        end = time.monotonic() + spin
        while time.monotonic() < end:
            pass
        return {"sum": sum(x)}
