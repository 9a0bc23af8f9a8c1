import bentoml
import work

ALIKE = {"workers": 1, "traffic": {"timeout": 60}, "logging": {"access": {"enabled": False}}}


@bentoml.service(threads=64, **ALIKE)
class Sync:
    @bentoml.api(route="/")
    def predict(self, x: int) -> dict:
        work.wait_before()
        y = work.take_slot(x)
        work.begin_wait_after()
        return {"y": y}


@bentoml.service(**ALIKE)
class Async:
    @bentoml.api(route="/")
    async def predict(self, x: int) -> dict:
        await work.await_before()
        y = await work.await_slot(x)
        work.begin_await_after()
        return {"y": y}
