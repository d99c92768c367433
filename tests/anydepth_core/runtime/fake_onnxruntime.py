"""An onnxruntime whose providers are whatever a test wants, over the real one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnxruntime


def fake_onnxruntime(available: list[str], started: list[str], broken: str = '') -> Any:
    """Return a module to put in place of onnxruntime.

    Args:
        available: providers it says it was built with.
        started: of these, the ones a session really gets; the CPU is always added silently.
        broken: with what words every session refuses to open.

    Returns:
        The module; ``module.asked`` lists the providers each session was asked for, and
        ``module.sessions`` the sessions.
    """
    asked: list[Any] = []
    sessions: list[Any] = []

    def session(model: bytes, options: Any, providers: list[Any], **keywords: Any) -> Any:
        asked.append(providers)
        if broken:
            raise Exception(broken)
        real = onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])
        names = [name for name, _ in providers if name in started]
        taken = list(dict.fromkeys([*names, 'CPUExecutionProvider']))
        sessions.append(SimpleNamespace(run=real.run, get_providers=lambda: taken))
        return sessions[-1]

    return SimpleNamespace(
        asked=asked,
        sessions=sessions,
        InferenceSession=session,
        SessionOptions=onnxruntime.SessionOptions,
        GraphOptimizationLevel=onnxruntime.GraphOptimizationLevel,
        get_available_providers=lambda: [*available, 'CPUExecutionProvider'],
    )
