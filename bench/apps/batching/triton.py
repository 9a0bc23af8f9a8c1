import sys

import numpy
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from session import MAX_BATCH, MAX_WAIT_S, Session

http, grpc, metrics, *widths = map(int, sys.argv[1:])
model = Session()


@batch
def infer(**columns):
    return {model.output: model.run_columns(columns)}


config = TritonConfig(http_address="127.0.0.1", grpc_address="127.0.0.1", http_port=http, grpc_port=grpc, metrics_port=metrics,
                      metrics_address="127.0.0.1", allow_gpu_metrics=False, log_verbose=0)
with Triton(config=config) as triton:
    triton.bind(
        model_name="model", infer_func=infer,
        inputs=[Tensor(name=name, dtype=model.dtype, shape=(widths[0],)) for name in model.names],
        outputs=[Tensor(name=model.output, dtype=numpy.float32, shape=(widths[1],))],
        config=ModelConfig(max_batch_size=MAX_BATCH,
                           batcher=DynamicBatcher(max_queue_delay_microseconds=round(MAX_WAIT_S * 1e6))))
    triton.serve()
