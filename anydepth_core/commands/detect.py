"""`anydepth detect`: draw what a bundle finds in an image, a video or a folder of images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anydepth_core.commands.runtime_options import add_runtime_arguments, runtime_settings
from anydepth_core.data.pictures import SUFFIXES
from anydepth_core.files import replacing, write_atomically

if TYPE_CHECKING:
    from anydepth_core.runtime.pipeline import Pipeline

HELP = 'detect objects in an image, a video or a folder of images and draw them'

_RESULTS = 'detections.json'

_Process = Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'source', metavar='SOURCE', help='an image, a video, or a folder of images'
    )
    parser.add_argument(
        '--bundle', default='default', help="bundle directory, or 'default' (%(default)s)"
    )
    parser.add_argument(
        '--depth',
        default='full',
        help='full, base, bits like 1111-0011 or 1111-0d4, or a ladder level (%(default)s)',
    )
    parser.add_argument(
        '--output', default='out/detect', metavar='DIR', help='where results go (%(default)s)'
    )
    parser.add_argument(
        '--confidence', type=float, default=0.25, help='lowest score drawn (%(default)s)'
    )
    add_runtime_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Detect, write annotated images or an annotated mp4, and ``detections.json``.

    Returns:
        0, or 1 if some images of a folder could not be read.

    Raises:
        ValueError: if source, output, bundle, depth or confidence are not usable.
        RuntimeError: if the video cannot be written.
    """
    from anydepth_core.models.postprocess import PostprocessSettings
    from anydepth_core.runtime.pipeline import load_pipeline

    source, output = Path(args.source), Path(args.output)
    images = _images(source)
    _check_output(source, output)
    pipeline = load_pipeline(
        args.bundle, runtime_settings(args), PostprocessSettings(confidence=args.confidence)
    )
    process = _processor(pipeline, args.depth)
    unreadable: list[str] = []
    if images is None:
        rows = detect_video(source, output / f'{source.stem}.mp4', process)
    else:
        rows, unreadable = detect_images(images, output, process)
        if source.is_file() and unreadable:
            raise ValueError(unreadable[0])
    text = json.dumps(_results(pipeline, args, rows), indent=2, ensure_ascii=False)
    write_atomically(output / _RESULTS, f'{text}\n'.encode())
    for sentence in unreadable:
        print(sentence, file=sys.stderr)
    _summarise(rows, output)
    return 1 if unreadable else 0


def detect_images(
    paths: list[Path], output: Path, process: _Process
) -> tuple[list[dict[str, Any]], list[str]]:
    """Detect in each image and write it, annotated, under its own name.

    Returns:
        One row per image that could be read, and one sentence per image that could not.
    """
    from tqdm import tqdm

    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for path in tqdm(paths, desc='detecting', unit='image', leave=False, disable=None):
        image = read_image(path)
        if image is None:
            unreadable.append(
                f'{path} cannot be read as an image: is it damaged or of another format?'
            )
            continue
        annotated, row = process(image)
        _write_image(output / path.name, annotated)
        rows.append({'file': path.name, **row})
    return rows, unreadable


def detect_video(source: Path, target: Path, process: _Process) -> list[dict[str, Any]]:
    """Detect in each frame of a video and write an annotated mp4.

    Returns:
        One row per frame.

    Raises:
        ValueError: if no frame can be read.
        RuntimeError: if the mp4 cannot be written.
    """
    from tqdm import tqdm

    rows: list[dict[str, Any]] = []
    with _video(source) as capture:
        found, frame = capture.read()
        if not found:
            raise ValueError(
                f'{source} cannot be read as an image or a video: is it damaged or another format?'
            )
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0.1 <= rate <= 1000 else 30.0
        total = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
        with (
            _video_writer(target, rate, frame.shape[:2]) as writer,
            tqdm(total=total, desc='detecting', unit='frame', leave=False, disable=None) as bar,
        ):
            while found:
                annotated, row = process(frame)
                writer.write(annotated)
                rows.append(
                    {'file': source.name, 'frame': len(rows), 'time_s': len(rows) / rate, **row}
                )
                bar.update()
                found, frame = capture.read()
    return rows


def read_image(path: Path) -> np.ndarray | None:
    """Read an image file as (H, W, 3) uint8 BGR; None if it is not readable as one."""
    try:
        data = np.fromfile(path, np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None


def _images(source: Path) -> list[Path] | None:
    """Image files of the source in name order; None for a file that is no image by its name."""
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise ValueError(
                f'{source} holds no image: files ending in {", ".join(SUFFIXES)} are used'
            )
        return paths
    if not source.is_file():
        raise ValueError(f'{source} does not exist: give an image, a video, or a folder of images')
    return [source] if source.suffix.lower() in SUFFIXES else None


def _check_output(source: Path, output: Path) -> None:
    folder = source if source.is_dir() else source.parent
    if output.resolve() == folder.resolve():
        raise ValueError(
            f'--output {output} is the folder of the source: give another one, '
            'nothing is overwritten'
        )
    if output.exists() and not output.is_dir():
        raise ValueError(f'--output {output} is a file: give a folder')


def _processor(pipeline: Pipeline, depth: str) -> _Process:
    """Return a function from an image to the annotated image and its row of results."""
    from anydepth_core.runtime.visualise import draw

    point = pipeline.prepare(depth)
    names = pipeline.bundle.class_names
    title = (
        f'{pipeline.bundle.space.format(point.depth)}  {point.image_size[0]}x{point.image_size[1]}'
    )

    def process(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        detections, timing = pipeline(image, point)
        annotated = draw(image, detections, names, f'{title}  {timing.total_ms:.1f} ms')
        rows = zip(
            detections.labels.tolist(),
            detections.scores.tolist(),
            detections.boxes_xyxy_px.tolist(),
        )
        return annotated, {
            'height': image.shape[0],
            'width': image.shape[1],
            'total_ms': round(timing.total_ms, 3),
            'detections': [
                {
                    'label': label,
                    'class': names[label],
                    'score': round(score, 5),
                    'box_xyxy_px': [round(side, 2) for side in box],
                }
                for label, score, box in rows
            ],
        }

    return process


def _results(
    pipeline: Pipeline, args: argparse.Namespace, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    point = pipeline.resolve(args.depth)
    return {
        'source': str(args.source),
        'model': pipeline.bundle.model_name,
        'depth': pipeline.bundle.space.format(point.depth),
        'image_size': list(point.image_size),
        'confidence': args.confidence,
        'class_names': list(pipeline.bundle.class_names),
        'images': rows,
    }


def _summarise(rows: list[dict[str, Any]], output: Path) -> None:
    found = sum(len(row['detections']) for row in rows)
    times = [row['total_ms'] for row in rows]
    median = f', median {np.median(times):.1f} ms each' if times else ''
    print(f'{found} detections in {len(rows)} images{median}; results in {output}/')


def _write_image(path: Path, image: np.ndarray) -> None:
    done, data = cv2.imencode(path.suffix, image)
    if not done:
        raise RuntimeError(f'{path} cannot be written as {path.suffix}')
    write_atomically(path, data.tobytes())


@contextmanager
def _video(source: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(source))
    try:
        yield capture
    finally:
        capture.release()


@contextmanager
def _video_writer(target: Path, rate: float, size: tuple[int, ...]) -> Iterator[cv2.VideoWriter]:
    """Open an mp4 that gets its name only once it is complete."""
    with replacing(target) as temporary:
        code = cv2.VideoWriter.fourcc(*'mp4v')
        writer = cv2.VideoWriter(str(temporary), code, rate, (size[1], size[0]))
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            if not writer.isOpened():
                raise RuntimeError(f'{target} cannot be written: this OpenCV has no mp4 encoder')
            yield writer
        finally:
            writer.release()
            cv2.utils.logging.setLogLevel(level)
        _check_written(temporary, target)


def _check_written(video: Path, target: Path) -> None:
    """Refuse a video that OpenCV could not finish; it says nothing when the disk is full."""
    with _video(video) as capture:
        if not capture.isOpened():
            raise RuntimeError(
                f'{target} cannot be written as a whole: is the disk full? free some space, '
                'or give another place'
            )
