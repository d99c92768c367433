"""A bundle: the directory a robot loads.

``bundle.yaml`` (see ``manifest.py``), ``master.onnx`` and a label file; every file is checked
against its SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
import hashlib
import os
from pathlib import Path
import shutil
import sys
import tempfile
from typing import Any

import yaml

from anydepth_core.data.preprocess import resize_of
from anydepth_core.depth import DepthConfig, DepthSpace, Ladder, OperatingPoint
from anydepth_core.errors import sentence
from anydepth_core.export.contract import check_master
from anydepth_core.export.manifest import (
    check_ladder,
    check_size,
    CLASS_NMS,
    LETTERBOX,
    Manifest,
    MASTER,
    parse_manifest,
)
from anydepth_core.export.point_norms import FILE as NORMS
from anydepth_core.export.point_norms import norms_file, parse_norms, PointNorms
from anydepth_core.models.postprocess import suppression_of

MANIFEST = 'bundle.yaml'
LABELS = 'labels.txt'
_MOST_YAML = 1_000_000
_DEFAULT = Path('config', 'models', 'default')


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: the directory.
        model_name: name the detector was built with.
        variant: block layout the detector was built with.
        space: the depths of the detector.
        class_names: name of each label.
        image_size: (height, width) of the network input for depths given as text.
        ladder: the operating points, cheapest first.
        master_path: the master ONNX.
        files: SHA-256 (hexadecimal) of each verified file by name.
        metadata: free text about the origin of the weights.
        resize: how an image becomes a network input: ``letterbox`` or ``stretch``.
        suppression: what becomes of boxes that overlap: ``class_nms`` or ``none``.
        norms: statistics of norms of single operating points, where they are not the master's.
    """

    path: Path
    model_name: str
    variant: str
    space: DepthSpace
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    ladder: Ladder
    master_path: Path
    files: Mapping[str, str]
    metadata: Mapping[str, Any]
    resize: str
    suppression: str
    norms: PointNorms = field(compare=False, repr=False)  # ``files`` has their hash

    @property
    def master_sha256(self) -> str:
        """SHA-256 (hexadecimal) of the master ONNX."""
        return self.files[MASTER]

    def weights_sha256(self, depth: DepthConfig, image_size: tuple[int, int]) -> str:
        """SHA-256 (hexadecimal) of all that the graph of an operating point is made from."""
        own = self.norms.get((depth, image_size))
        if own is None:
            return self.master_sha256
        values = b''.join(name.encode() + own[name].tobytes() for name in sorted(own))
        return _sha256(self.master_sha256.encode() + values)


def is_bundle(path_or_name: str | Path) -> bool:
    """Whether :func:`load_bundle` would read this as a bundle, sound or not."""
    return str(path_or_name) == 'default' or (Path(path_or_name) / MANIFEST).is_file()


def load_bundle(path_or_name: str | Path = 'default') -> Bundle:
    """Open a bundle; verify every field and hash, and that master ONNX and labels fit together.

    Args:
        path_or_name: the directory, or ``default`` for the bundle that ships with the package.

    Raises:
        ValueError: if it is no bundle or anything in it is wrong; the message names the file,
            expected and found.
        RuntimeError: if onnx is not installed.
    """
    directory = default_bundle_path() if str(path_or_name) == 'default' else Path(path_or_name)
    if not directory.is_dir():
        raise ValueError(
            f"{directory} is no bundle: give a directory that holds {MANIFEST}, or 'default'"
        )
    try:
        manifest = parse_manifest(_read_yaml(directory))
    except ValueError as error:
        raise ValueError(f'{directory / MANIFEST}: {error}') from None
    contents = {
        name: _verified(directory / name, digest) for name, digest in manifest.files.items()
    }
    class_names = _class_names(directory / manifest.classes_file, contents[manifest.classes_file])
    shapes = check_master(directory / MASTER, contents[MASTER], manifest, len(class_names))
    norms: PointNorms = {}
    if name := manifest.norms_file:
        norms = parse_norms(directory / name, contents[name], manifest.space, shapes)
    return Bundle(
        path=directory,
        model_name=manifest.model_name,
        variant=manifest.variant,
        space=manifest.space,
        class_names=class_names,
        image_size=manifest.image_size,
        ladder=manifest.ladder,
        master_path=directory / MASTER,
        files=manifest.files,
        metadata=manifest.metadata,
        resize=manifest.resize,
        suppression=manifest.suppression,
        norms=norms,
    )


def write_bundle(
    directory: str | Path,
    *,
    master_path: str | Path,
    model_name: str,
    variant: str,
    space: DepthSpace,
    class_names: Sequence[str],
    image_size: tuple[int, int],
    ladder: Sequence[OperatingPoint],
    metadata: Mapping[str, Any] | None = None,
    resize: str = LETTERBOX,
    suppression: str = CLASS_NMS,
    norms: PointNorms | None = None,
) -> Bundle:
    """Write a bundle, verify it, then put it in place of an older one.

    Other files of the older one, such as a model card, are kept.

    Args:
        directory: where the bundle goes; it may not exist yet, be empty or hold a bundle.
        master_path: the master ONNX to copy.
        model_name: name the detector was built with.
        variant: block layout the detector was built with.
        space: the depths of the detector.
        class_names: name of each label.
        image_size: (height, width) of the network input for depths given as text.
        ladder: the operating points, cheapest first.
        metadata: free text about the origin of the weights; plain YAML values.
        resize: how an image becomes a network input: ``letterbox`` or ``stretch``.
        suppression: what becomes of boxes that overlap: ``class_nms`` or ``none``.
        norms: statistics of norms of single operating points.

    Raises:
        ValueError: if a value is not legal or the master does not fit; nothing is written then.
    """
    directory = Path(directory).absolute()
    if directory.exists() and not (directory / MANIFEST).is_file() and any(directory.iterdir()):
        raise ValueError(f'{directory} is not empty and no bundle: give a new or empty directory')
    resize_of(resize)
    suppression_of(suppression)
    manifest = Manifest(
        model_name=model_name,
        variant=variant,
        space=space,
        classes_file=LABELS,
        image_size=check_size(list(image_size)),
        ladder=check_ladder(space, ladder),
        files={},
        metadata=metadata or {},
        resize=resize,
        suppression=suppression,
        norms_file=NORMS if norms else '',
    )
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f'.{directory.name}-', dir=directory.parent))
    try:
        if norms:
            (fresh / NORMS).write_bytes(norms_file(space, norms))
        bundle = _write_files(fresh, manifest, Path(master_path), class_names)
        _put_in_place(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return replace(bundle, path=directory, master_path=directory / MASTER)


def _write_files(
    folder: Path, manifest: Manifest, master_path: Path, class_names: Sequence[str]
) -> Bundle:
    """Write the files of a bundle into a folder that holds nothing but norms; verify them."""
    shutil.copyfile(master_path, folder / MASTER)
    (folder / LABELS).write_text(''.join(f'{name}\n' for name in class_names), encoding='utf-8')
    names = filter(None, (MASTER, LABELS, manifest.norms_file))
    files = {name: _sha256((folder / name).read_bytes()) for name in names}
    text = _to_yaml(replace(manifest, files=files))
    (folder / MANIFEST).write_text(text, encoding='utf-8')
    bundle = load_bundle(folder)
    if bundle.class_names != tuple(class_names):
        raise ValueError(
            'a class name is empty, spans lines or has blanks at its ends: give plain names'
        )
    return bundle


def default_bundle_path() -> Path:
    """Find the bundle of the package: in a source checkout, or under ``share`` when installed.

    Raises:
        ValueError: if it is nowhere; the message lists where it was looked for.
    """
    here = Path(__file__).resolve()
    share = Path('share', 'anydepth_ros', _DEFAULT)
    ament = [
        Path(prefix)
        for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
        if prefix
    ]
    places = [here.parents[2] / _DEFAULT]
    places += [prefix / share for prefix in (*ament, *here.parents[2:], Path(sys.prefix))]
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise ValueError(
        f'the default bundle is not installed (looked in {places[0]} and '
        f'{share} of AMENT_PREFIX_PATH and {sys.prefix}): give the path of a bundle'
    )


def _read_yaml(directory: Path) -> object:
    path = directory / MANIFEST
    if not path.is_file():
        raise ValueError(
            f'the file is missing, so {directory} is no bundle: give the directory of one'
        )
    try:
        with path.open('rb') as file:
            content = file.read(_MOST_YAML + 1)
        if len(content) > _MOST_YAML:
            raise ValueError(f'larger than {_MOST_YAML} bytes')
        return yaml.safe_load(content.decode('utf-8'))
    except Exception as error:  # PyYAML raises almost anything, from KeyError to RecursionError
        raise ValueError(
            f'not readable as YAML ({sentence(error)}): download or export the bundle again'
        ) from None


def _to_yaml(manifest: Manifest) -> str:
    try:
        return yaml.safe_dump(
            manifest.to_dict(),
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=120,
        )
    except yaml.representer.RepresenterError as error:
        raise ValueError(
            f'the metadata holds {error.args[-1]!r}, which has no plain form in YAML: '
            'give numbers, texts, lists and mappings only'
        ) from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verified(path: Path, expected: str) -> bytes:
    """Read a file; what it is a link to does not matter, because its content must match.

    ``colcon build --symlink-install`` and download caches make bundles of links.
    """
    try:
        if not path.is_file():
            raise ValueError(f'{path} is missing: download or export the bundle again')
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f'{path} cannot be read ({error.strerror}): mend that, or export the bundle again'
        ) from None
    found = _sha256(content)
    if found != expected:
        raise ValueError(
            f'{path} has the wrong SHA-256 (expected {expected}, found {found}): '
            'download or export the bundle again'
        )
    return content


def _class_names(path: Path, content: bytes) -> tuple[str, ...]:
    try:
        lines = content.decode('utf-8').removesuffix('\n').split('\n')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is no UTF-8 text ({error.reason} at byte {error.start}): '
            'save it as UTF-8, then export the bundle again'
        ) from None
    names = tuple(line.strip() for line in lines)
    if not all(names):
        raise ValueError(
            f'{path} line {names.index("") + 1} is empty: one class name a line is needed'
        )
    return names


def _put_in_place(fresh: Path, directory: Path) -> None:
    """Swap a verified bundle in; the older one is restored if that fails."""
    fresh.chmod(0o755)
    if not directory.exists():
        os.replace(fresh, directory)
        return
    for old in directory.iterdir():
        if old.is_file() and old.name != NORMS and not (fresh / old.name).exists():
            shutil.copy2(old, fresh / old.name)
    aside = Path(tempfile.mkdtemp(prefix=f'.{directory.name}-', dir=directory.parent))
    os.replace(directory, aside)
    try:
        os.replace(fresh, directory)
    except OSError:
        os.replace(aside, directory)
        raise
    shutil.rmtree(aside)
