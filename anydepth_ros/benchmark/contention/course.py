"""Plays the rounds: camera and detector, for our policy the controller, hogs in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import math
import subprocess
import time
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from anydepth_ros.benchmark.contention.figures import Calibration, calibration
from anydepth_ros.benchmark.contention.hogs import Hogs
from anydepth_ros.benchmark.contention.series import (
    answers_of,
    FULL,
    OURS,
    PHASES,
    Round,
    Told,
)
from anydepth_ros.benchmark.figures import Sent
from anydepth_ros.benchmark.process import cpu_seconds
from anydepth_ros.benchmark.session import REMAPPING, Session
from anydepth_ros.benchmark.settings import NodeSettings
from anydepth_ros.processes import NodeProcesses

LEAD_IN_S = 5.0  # before a round: the law learns what frames take here, caches get warm
CALIBRATION_S = 10.0
PATIENCE_S = 30.0  # for a controller to start, or a parameter to be set
PIECE_S = 0.5


class Course:
    """The rounds on one running detector."""

    def __init__(self, session: Session, settings: NodeSettings, model: str, top: int) -> None:
        """Prepare.

        Args:
            session: with a detector that has built its ladder.
            settings: rate, length of the phases, number of hogs.
            model: the bundle that is served.
            top: highest level of its ladder.
        """
        self._session = session
        self._settings = settings
        self._model = model
        self._top = top
        self._client: Any = session.listener.create_client(
            SetParameters, 'detector/set_parameters'
        )

    def calibrate(self) -> Calibration:
        """Measure what a deadline is derived from.

        Raises:
            RuntimeError: if the detector ends, or answers nothing.
        """
        return calibration(
            self._latencies(self._top, hogs=0),
            self._latencies(self._top, hogs=self._settings.hogs()),
            self._latencies(0, hogs=self._settings.hogs()),
        )

    def _latencies(self, level: int, hogs: int) -> list[float]:
        """Return latencies of a level beside so many hogs, in milliseconds."""
        self._fix(level)
        self._session.listener.forget()
        with Hogs(hogs, from_s=0.0, until_s=math.inf) as running:
            sent, began_ns = self._play(min(CALIBRATION_S, self._settings.seconds), running.follow)
        answers = answers_of(sent.stamps, self._session.listener.stats, began_ns)
        return [one.latency_ms for one in answers if one.level == level]

    def round(self, policy: str, number: int, deadline_ms: float) -> Round:
        """Play one round of one policy; a controller is started for it and ended with it.

        Raises:
            RuntimeError: if a process ends, or detector or controller do not follow.
        """
        if policy != OURS:
            self._fix(self._top if policy == FULL else 0)
            return self._round(policy, number, None)
        with self._controller(deadline_ms) as controller:
            return self._round(policy, number, controller)

    def _round(
        self, policy: str, number: int, controller: subprocess.Popen[bytes] | None
    ) -> Round:
        phase_s, listener = self._settings.seconds, self._session.listener
        self._session.play(self._settings.rate, min(LEAD_IN_S, phase_s))
        listener.forget()
        cpu_s = 0.0 if controller is None else cpu_seconds(controller.pid)
        with Hogs(self._settings.hogs(), phase_s, 2 * phase_s) as hogs:
            sent, began_ns = self._play(len(PHASES) * phase_s, hogs.follow, controller)
        if hogs.from_ns is None or hogs.until_ns is None:
            raise RuntimeError(f'phases of {phase_s:g} s are too short here: give more --seconds')
        ends_s = len(PHASES) * phase_s
        told = [
            Told((one.stamp - began_ns) / 1e9, one.level, one.reason)
            for one in listener.decisions
            if one.stamp >= began_ns
        ]
        return Round(
            policy=policy,
            number=number,
            hogs_from_s=(hogs.from_ns - began_ns) / 1e9,
            hogs_until_s=(hogs.until_ns - began_ns) / 1e9,
            ends_s=ends_s,
            sent_s=tuple((stamp - began_ns) / 1e9 for stamp in sent.stamps),
            answers=answers_of(sent.stamps, listener.stats, began_ns),
            decisions=tuple(told),
            controller_cpu=None
            if controller is None
            else (cpu_seconds(controller.pid) - cpu_s) / ends_s,
        )

    def _play(
        self,
        seconds: float,
        follow: Callable[[float], None] = lambda elapsed_s: None,
        controller: subprocess.Popen[bytes] | None = None,
    ) -> tuple[Sent, int]:
        """Send images for some time; return them and when that began, in nanoseconds.

        Args:
            seconds: how long.
            follow: told again and again how long it has been.
            controller: that must live.

        Raises:
            RuntimeError: if it does not, or camera or detector have ended.
        """
        began_ns, began = time.time_ns(), time.monotonic()

        def also() -> None:
            follow(time.monotonic() - began)
            _check(controller)

        sent = self._session.play(self._settings.rate, seconds, also)
        self._session.settle()
        return sent, began_ns

    @contextmanager
    def _controller(self, deadline_ms: float) -> Iterator[subprocess.Popen[bytes]]:
        """Give the detector to a controller that has begun to decide, and take it back."""
        listener = self._session.listener
        listener.forget()
        self._set(depth=self._top, depth_mode='auto')
        with NodeProcesses() as own:
            parameters = {'model': self._model, 'deadline_ms': deadline_ms}
            process = own.start('controller_node', parameters, REMAPPING)
            end = time.monotonic() + PATIENCE_S
            while not any(one.mode == 'auto' for one in listener.decisions):
                _check(process)
                if time.monotonic() > end:
                    raise RuntimeError(f'the controller was not heard within {PATIENCE_S:.0f} s')
                self._session.play(self._settings.rate, PIECE_S)
            yield process

    def _fix(self, level: int) -> None:
        self._set(depth=level, depth_mode='manual')

    def _set(self, **values: Any) -> None:
        """Set parameters of the detector.

        Raises:
            RuntimeError: if it refuses, or does not answer.
        """
        messages = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        end = time.monotonic() + PATIENCE_S
        while not self._client.service_is_ready() and time.monotonic() < end:
            self._session.spin()
        future = self._client.call_async(SetParameters.Request(parameters=messages))
        while not future.done() and time.monotonic() < end:
            self._session.spin()
        if not future.done():
            raise RuntimeError(f'the detector did not set {values} within {PATIENCE_S:.0f} s')
        refused = [one.reason for one in future.result().results if not one.successful]
        if refused:
            raise RuntimeError(f'the detector refused {values}: {refused[0]}')


def _check(controller: subprocess.Popen[bytes] | None) -> None:
    """Make sure that a controller lives.

    Raises:
        RuntimeError: if it has ended.
    """
    if controller is not None and controller.poll() is not None:
        raise RuntimeError(
            f'the controller has ended (exit status {controller.returncode}); see above'
        )
