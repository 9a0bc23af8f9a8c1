import bentoml
import numpy
from session import MAX_BATCH, Session


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Batched:
    def __init__(self):
        self.model = Session()

    # One argument, since that is what can be batched: rows × inputs × numbers.
    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH)
    def infer(self, rows: numpy.ndarray) -> numpy.ndarray:
        return self.model.run(rows.astype(self.model.dtype))
