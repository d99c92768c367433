"""One run over a bag: every image in, its answer out, in the order and with the times recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
import signal
import time

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import Reader, Writer
from tqdm import tqdm

from anydepth_core.bags import messages, open_bag
from anydepth_core.models.postprocess import PostprocessSettings
from anydepth_core.runtime.backends import DEFAULTS, RuntimeSettings
from anydepth_core.runtime.pipeline import load_pipeline, Pipeline
from anydepth_ros.bag.answers import Answerer, Settings
from anydepth_ros.bag.definitions import Definition, Definitions, type_name
from anydepth_ros.bag.reading import choose_topics, ImageTopic, storage_of
from anydepth_ros.bag.writing import check_output, new_bag, offered, recorded_qos
from anydepth_ros.parameters import class_label
from anydepth_ros.running import StopSignals
from anydepth_ros.serving import name_of
from anydepth_ros.topics import DETECTIONS, LABEL_INFO, STATS

ANSWERS = (DETECTIONS, LABEL_INFO, STATS)

_DIFFERENT_REASONS = 20  # reasons told apart; damage can give every image one of its own


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        bag: the bag to read.
        output: the bag to write; it must not exist.
        topics: image topics; empty for the only one.
        model: directory of the bundle, or ``default``.
        depth: as the node takes it, as text.
        confidence: lowest score of a detection.
        iou: overlap above which boxes of one class are merged.
        max_detections: most detections of one image.
        classes: names or indices of the classes that are kept; empty for all.
        class_id_format: ``index`` or ``name``.
        runtime: what runs the network.
        storage: ``mcap`` or ``sqlite3``; empty for the storage of the input.
        copy: also write what the input holds.
        start_s: seconds after the start of the bag to begin at.
        seconds: how much of the bag to process; None for all.
    """

    bag: Path
    output: Path
    topics: tuple[str, ...] = ()
    model: str = 'default'
    depth: str = 'full'
    confidence: float = 0.25
    iou: float = 0.7
    max_detections: int = 300
    classes: tuple[str, ...] = ()
    class_id_format: str = 'index'
    runtime: RuntimeSettings = DEFAULTS
    storage: str = ''
    copy: bool = False
    start_s: float = 0.0
    seconds: float | None = None


@dataclass
class Summary:
    """What a run did.

    Attributes:
        depth: depth and input size, ``1111-1111@320x320``.
        images: images read.
        detections: detections written.
        unreadable: images that could not be processed.
        reasons: why, and how often; the rarer ones are left out where there are many.
        seconds: how long the images took.
    """

    depth: str
    images: int = 0
    detections: int = 0
    unreadable: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def detect_bag(job: Job) -> Summary:
    """Detect on every image of a bag and write a bag with the answers.

    Raises:
        ValueError: if the bag, a topic, the output, the bundle or a setting is not usable.
        RuntimeError: if a back end is missing or fails.
        OSError: if the output cannot be written.
        KeyboardInterrupt: after SIGINT or SIGTERM; nothing is left behind.
    """
    check_output(job.output)
    with open_bag(job.bag) as reader:
        topics = choose_topics(reader, job.topics)
        pipeline = load_pipeline(job.model, job.runtime)
        try:
            settings = _settings(job, pipeline)
            depth = name_of(pipeline.bundle.space, settings.point)
            facts = {
                'anydepth_model': pipeline.bundle.model_name,
                'anydepth_depth': depth,
                'anydepth_confidence_threshold': str(job.confidence),
            }
            storage = job.storage or storage_of(job.bag)
            with _noted_signals() as signals, new_bag(job.output, storage, facts) as writer:
                run = _Run(job, reader, topics, writer, Answerer(pipeline, settings))
                return run.process(signals, Summary(depth))
        finally:
            pipeline.close()


class _Run:
    """Reads, answers and writes message by message; only one is in memory at a time."""

    def __init__(
        self,
        job: Job,
        reader: Reader,
        topics: Sequence[ImageTopic],
        writer: Writer,
        answerer: Answerer,
    ) -> None:
        """Announce every topic of the output.

        Raises:
            ValueError: if a copied topic has the name of an answer, or its type is unknown.
        """
        self._job = job
        self._reader = reader
        self._topics = {topic.name: topic for topic in topics}
        self._writer = writer
        self._answerer = answerer
        self._definitions = Definitions()
        self._labelled: set[str] = set()
        self._answers = {topic.name: self._announce_answers(topic) for topic in topics}
        self._copies = self._announce_copies() if job.copy else {}

    def process(self, signals: StopSignals, summary: Summary) -> Summary:
        """Process the messages.

        Raises:
            ValueError: if the bag is damaged or has no image in the range.
            KeyboardInterrupt: after a signal.
        """
        started = time.perf_counter()
        with tqdm(
            total=self._total(), desc='detecting', unit='image', leave=False, disable=None
        ) as bar:
            for connection, time_ns, data in self._messages():
                if signals.noted:
                    raise KeyboardInterrupt(f'stopped after {summary.images} images')
                if connection.id in self._copies:
                    self._writer.write(self._copies[connection.id], time_ns, data)
                if connection.topic in self._topics:
                    self._answer(self._topics[connection.topic], time_ns, data, summary)
                    bar.update()
        summary.seconds = time.perf_counter() - started
        if not summary.images:
            raise ValueError(
                f'{self._job.bag} has no image in this range: it lasts '
                f'{self._reader.duration / 1e9:.1f} s'
            )
        return summary

    def _answer(self, topic: ImageTopic, time_ns: int, data: bytes, summary: Summary) -> None:
        connections = self._answers[topic.name]
        if topic.name not in self._labelled:
            self._labelled.add(topic.name)
            labels = self._answerer.labels(time_ns)
            self._writer.write(connections[LABEL_INFO.name], time_ns, labels)
        answer = self._answerer.answer(topic, time_ns, data)
        if answer.detections is not None:
            self._writer.write(connections[DETECTIONS.name], time_ns, answer.detections)
        self._writer.write(connections[STATS.name], time_ns, answer.stats)
        summary.images += 1
        summary.detections += answer.found
        if answer.error:
            summary.unreadable += 1
            if answer.error in summary.reasons or len(summary.reasons) < _DIFFERENT_REASONS:
                summary.reasons[answer.error] += 1

    def _announce_answers(self, topic: ImageTopic) -> dict[str, Connection]:
        connections = {}
        for one in ANSWERS:
            msgtype = type_name(one.message)
            definition, qos = self._definitions.of(msgtype), offered(one.profile)
            name = f'{topic.namespace}/{one.name}'
            connections[one.name] = self._announce(name, msgtype, definition, qos)
        return connections

    def _announce_copies(self) -> dict[int, Connection]:
        """Announce the recorded topics that have messages; return them by their id in the input.

        One topic may be recorded in several parts that differ in nothing a bag can hold.
        """
        made = {f'{t.namespace}/{one.name}' for t in self._topics.values() for one in ANSWERS}
        copies: dict[str, Connection] = {}
        result = {}
        for one in self._reader.connections:
            if not one.msgcount:
                continue
            if one.topic in made:
                raise ValueError(
                    f'{self._job.bag} has {one.topic} already: leave --copy out, or have the '
                    'images answered from a bag without it'
                )
            key = repr((one.topic, one.msgtype, one.ext))
            if key not in copies:
                definition, qos = self._definitions.recorded(one), recorded_qos(one)
                copies[key] = self._announce(one.topic, one.msgtype, definition, qos)
            result[one.id] = copies[key]
        return result

    def _announce(
        self, name: str, msgtype: str, definition: Definition, qos: list[Qos]
    ) -> Connection:
        return self._writer.add_connection(
            name,
            msgtype,
            msgdef=definition.text,
            rihs01=definition.type_hash,
            offered_qos_profiles=qos,
        )

    def _messages(self) -> Iterator[tuple[Connection, int, bytes]]:
        wanted = [
            one
            for one in self._reader.connections
            if one.topic in self._topics or one.id in self._copies
        ]
        start_ns, stop_ns = self._range()
        return messages(self._reader, wanted, start_ns, stop_ns)

    def _range(self) -> tuple[int | None, int | None]:
        """Return the first bag time and the one after the last; None where all is wanted."""
        start_ns = self._reader.start_time + round(1e9 * self._job.start_s)
        if self._job.seconds is not None:
            return start_ns, start_ns + round(1e9 * self._job.seconds)
        return (start_ns if self._job.start_s else None), None

    def _total(self) -> int | None:
        """Return how many images there are; None where only a part is wanted."""
        if self._range() != (None, None):
            return None
        return sum(topic.count for topic in self._topics.values())


def _settings(job: Job, pipeline: Pipeline) -> Settings:
    """Check what depends on the model and build the depth."""
    names = pipeline.bundle.class_names
    labels = tuple(dict.fromkeys(class_label(one, names, '--classes') for one in job.classes))
    postprocess = PostprocessSettings(
        confidence=job.confidence,
        iou=job.iou,
        max_detections=job.max_detections,
        classes=labels or None,
    )
    point = pipeline.prepare(job.depth)
    return Settings(point, postprocess, job.class_id_format)


@contextmanager
def _noted_signals() -> Iterator[StopSignals]:
    """Note SIGINT and SIGTERM for the time of a block, so that none breaks into its cleanup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signals = StopSignals()
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
