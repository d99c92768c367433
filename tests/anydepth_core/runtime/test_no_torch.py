from __future__ import annotations

import subprocess
import sys

MODULES = (
    'anydepth_core',
    'anydepth_core.cli',
    'anydepth_core.data.preprocess',
    'anydepth_core.models.postprocess',
    'anydepth_core.export.bundle',
    'anydepth_core.export.specialise',
    'anydepth_core.evaluation.latency',
    'anydepth_core.evaluation.benchmark_run',
    'anydepth_core.evaluation.benchmark_table',
    'anydepth_core.evaluation.complexity',
    'anydepth_core.runtime.pipeline',
    'anydepth_core.export.gather_sampling',
    'anydepth_core.export.preprocessing',
    'anydepth_core.runtime.tensorrt.build_process',
    'anydepth_core.runtime.tensorrt.runtime',
    'anydepth_core.control.assumed',
    'anydepth_core.control.controller',
    'anydepth_core.control.recorded_bag',
    'anydepth_core.control.zone_limits',
    'anydepth_core.commands.sensors',
    'anydepth_core.sensing.sampler',
    'anydepth_core.runtime.visualise',
    'anydepth_core.commands.detect',
    'anydepth_core.commands.benchmark',
    'anydepth_core.commands.build',
    'anydepth_core.commands.bundle',
)
PROGRAM = """
import importlib, sys
from pathlib import Path

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'rclpy'):
            raise AssertionError(f'{name} was imported')

sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
import tempfile
from tests.anydepth_core.support.toy_bundle import picture, write_toy_bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.pipeline import load_pipeline
with tempfile.TemporaryDirectory() as folder:
    bundle = write_toy_bundle(Path(folder) / 'toy')
    pipeline = load_pipeline(bundle.path, RuntimeSettings(threads=1))
    assert len(pipeline(picture((0, 0, 0)), '01-1')[0]) == 1
assert 'torch' not in sys.modules and 'rclpy' not in sys.modules
print('served')
"""


def test_a_robot_serves_a_bundle_without_torch_or_ros(pytestconfig):
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, *MODULES],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == 'served'
