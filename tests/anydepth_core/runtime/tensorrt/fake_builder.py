"""The builder process with fakes in place of TensorRT and CUDA.

What goes wrong comes by the environment variable ``FAKE_TENSORRT``, a JSON object.
"""

from __future__ import annotations

import json
import os
import sys

from anydepth_core.runtime.tensorrt.build_process import main
from tests.anydepth_core.runtime.tensorrt.fake_cudart import FakeCudart
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour, make_tensorrt


def run() -> None:
    plan = json.loads(os.environ.get('FAKE_TENSORRT', '{}'))
    cudart = FakeCudart(**plan.get('cudart', {}))
    module = make_tensorrt(
        plan.get('flavour', '10.3'), cudart, Behaviour(**plan.get('behaviour', {}))
    )
    status = main(trt=module, cudart=cudart)
    if cudart.misuse or (cudart.leaks and not status):
        print(f'{cudart.misuse} {cudart.leaks}', file=sys.stderr)
        status = 99
    sys.exit(status)
