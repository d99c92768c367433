"""Serving with the TensorRT back end: builds go on beside frames."""

from __future__ import annotations

import threading

from anydepth_core.runtime.pipeline import Pipeline
from anydepth_ros.serving import Serving
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour
from tests.anydepth_core.runtime.tensorrt.support import COMMAND, random_images, Rig
from tests.anydepth_core.support.toy_bundle import LADDER, write_toy_bundle


def test_frames_run_while_the_engines_of_the_ladder_are_built(tmp_path, monkeypatch):
    rig = Rig(write_toy_bundle(tmp_path / 'toy'), tmp_path / 'engines')
    rig.build(LADDER[2])
    rig.behaviour = Behaviour(seconds=0.5)
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    events, camera = [], threading.Event()
    with rig.runtime(COMMAND) as runtime:
        serving = Serving(
            Pipeline(rig.bundle, runtime),
            [LADDER[2]],
            on_event=lambda *event: events.append(event),
        )
        frames = 0
        while len(events) < 2:
            with serving.running(LADDER[0]) as point:
                assert runtime.ready(point)
                runtime.run(random_images(point), point)
                frames += 1
            camera.wait(0.02)
        assert frames > 2
        assert sorted(events) == [('00-0@64x64 is ready', False), ('00-0@96x96 is ready', False)]
        assert serving.serve(LADDER[0]) == LADDER[0]
        serving.close()


def test_closing_ends_a_build_in_work(tmp_path, monkeypatch):
    rig = Rig(write_toy_bundle(tmp_path / 'toy'), tmp_path / 'engines')
    rig.build(LADDER[2])
    rig.behaviour = Behaviour(seconds=300)
    monkeypatch.setenv('FAKE_TENSORRT', rig.environment)
    building = threading.Event()
    with rig.runtime(COMMAND) as runtime:
        start = runtime._builder._start
        monkeypatch.setattr(
            runtime._builder, '_start', lambda *given: (start(*given), building.set())[0]
        )
        serving = Serving(Pipeline(rig.bundle, runtime), [LADDER[2]])
        assert building.wait(30) and serving.building() == LADDER[0]
        serving.close()
        assert not serving._thread.is_alive()
