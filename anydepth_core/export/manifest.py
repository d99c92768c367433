"""The text of ``bundle.yaml``: what it may say, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
import re
import reprlib
from typing import Any

from anydepth_core.data.preprocess import PAD_VALUE
from anydepth_core.depth import DepthSpace, Ladder, OperatingPoint
from anydepth_core.models.postprocess import SUPPRESSIONS

FORMAT = 1
MASTER = 'master.onnx'
STRIDE = 32
MOST_PIXELS = 8192  # of a side; larger inputs are mistakes and would only end in lack of memory
LETTERBOX, CLASS_NMS = 'letterbox', 'class_nms'  # what a bundle does unless it says otherwise
PREPROCESSING: Mapping[str, Mapping[str, Any]] = {
    'letterbox': {
        'resize': 'letterbox',
        'interpolation': 'bilinear',
        'pad': PAD_VALUE,
        'channels': 'rgb',
        'scale': '1/255',
    },
    'stretch': {
        'resize': 'stretch',
        'interpolation': 'bilinear',
        'channels': 'rgb',
        'scale': '1/255',
    },
}
"""All that this version can do, by resize."""

_FIELDS = (
    'format', 'model', 'classes', 'image_size', 'preprocessing', 'ladder', 'files', 'metadata',
)  # fmt: skip
_MODEL_FIELDS = ('name', 'variant', 'stages', 'backbone_stages', 'decoder_layers')
_LARGEST = 1e300
_POINT_FIELDS = ('depth', 'image_size', 'metrics')


@dataclass(frozen=True)
class Manifest:
    """What ``bundle.yaml`` says.

    Attributes:
        model_name: name the detector was built with.
        variant: block layout the detector was built with.
        space: the depths of the detector.
        classes_file: name of the label file.
        image_size: (height, width) of the network input for depths given as text.
        ladder: the operating points, cheapest first.
        files: SHA-256 (hexadecimal) of each file by name.
        metadata: free text about the origin of the weights.
        resize: how an image becomes a network input, see
            :data:`~anydepth_core.data.preprocess.RESIZES`.
        suppression: what becomes of boxes that overlap, see
            :data:`~anydepth_core.models.postprocess.SUPPRESSIONS`.
        norms_file: name of the file with the norms of single operating points; empty without.
    """

    model_name: str
    variant: str
    space: DepthSpace
    classes_file: str
    image_size: tuple[int, int]
    ladder: Ladder
    files: Mapping[str, str]
    metadata: Mapping[str, Any]
    resize: str = LETTERBOX
    suppression: str = CLASS_NMS
    norms_file: str = ''

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML; :func:`parse_manifest` reads them back."""
        return {
            'format': FORMAT,
            'model': {
                'name': self.model_name,
                'variant': self.variant,
                'stages': list(self.space.stages),
                'backbone_stages': self.space.backbone_stages,
                'decoder_layers': self.space.decoder_layers,
                'max_decoder_layers': self.space.max_decoder_layers,
            },
            'classes': self.classes_file,
            'image_size': list(self.image_size),
            'preprocessing': dict(PREPROCESSING[self.resize]),
            'postprocessing': {'suppression': self.suppression},
            'ladder': [
                {
                    'depth': self.space.format(point.depth),
                    'image_size': list(point.image_size),
                    'metrics': {name: float(figure) for name, figure in point.metrics},
                }
                for point in self.ladder.points
            ],
            **({'norms': self.norms_file} if self.norms_file else {}),
            'files': dict(self.files),
            'metadata': dict(self.metadata),
        }


def parse_manifest(value: object) -> Manifest:
    """Check the parsed YAML and turn it into a :class:`Manifest`.

    Raises:
        ValueError: naming the field, what it holds and what is allowed.
    """
    if not isinstance(value, Mapping) or 'format' not in value:
        raise ValueError(
            "the field 'format' is missing, so this is no bundle: give the directory of one"
        )
    _check_format(value['format'])
    fields = _mapping(value, 'the top level', _FIELDS, ('postprocessing', 'norms'))
    model = _mapping(fields['model'], 'model', _MODEL_FIELDS, ('max_decoder_layers',))
    space = _space(model)
    image_size = check_size(fields['image_size'], 'image_size')
    files = _files(fields['files'])
    classes_file = _text(fields['classes'], 'classes')
    norms_file = _text(fields['norms'], 'norms') if 'norms' in fields else ''
    for name in filter(None, (MASTER, classes_file, norms_file)):
        if name not in files:
            raise ValueError(f"the field 'files' does not list {name!r}: export the bundle again")
    return Manifest(
        model_name=_text(model['name'], 'model.name'),
        variant=_text(model['variant'], 'model.variant'),
        space=space,
        classes_file=classes_file,
        image_size=image_size,
        ladder=check_ladder(space, _points(fields['ladder'], space)),
        files=files,
        metadata=_mapping(fields['metadata'], 'metadata', None),
        resize=_resize(fields['preprocessing']),
        suppression=_suppression(fields.get('postprocessing', {'suppression': CLASS_NMS})),
        norms_file=norms_file,
    )


def check_size(value: object, field: str = 'image_size') -> tuple[int, int]:
    """Return ``value`` as (height, width).

    Raises:
        ValueError: unless it is two multiples of 32 from 32 to 8192.
    """
    sides = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    legal = range(STRIDE, MOST_PIXELS + 1, STRIDE)
    if len(sides) != 2 or not whole or any(side not in legal for side in sides):
        raise ValueError(
            f'{field} {_shown(value)} is not legal: give [height, width], both multiples of '
            f'{STRIDE} up to {MOST_PIXELS}'
        )
    return sides


def check_ladder(space: DepthSpace, points: Sequence[OperatingPoint]) -> Ladder:
    """Make a ladder of operating points.

    Raises:
        ValueError: if there is no point, a depth or size is not legal, or the points do not get
            dearer.
    """
    if not points:
        raise ValueError('the ladder is empty: give at least one operating point')
    for level, point in enumerate(points):
        space.parse(point.depth)
        check_size(list(point.image_size), f'ladder level {level}: image_size')
        if any(not _may_follow(cheaper, point) for cheaper in points[:level]):
            raise ValueError(
                f'ladder level {level} ({space.format(point.depth)} at {point.image_size[0]}x'
                f'{point.image_size[1]}) costs less than a level before it, or is there twice: '
                'order the ladder cheapest first, each point once'
            )
    return Ladder(space, tuple(points))


def _may_follow(cheaper: OperatingPoint, dearer: OperatingPoint) -> bool:
    """Whether ``dearer`` does something more and states no lower figure."""
    costs = [dict(point.metrics).get('multiply_adds') for point in (cheaper, dearer)]
    if costs[0] is not None and costs[1] is not None and costs[1] < costs[0]:
        return False
    layers = [point.depth.decoder_layers or 0 for point in (cheaper, dearer)]
    contained = (
        all(one >= two for one, two in zip(cheaper.depth.stages, dearer.depth.stages))
        and all(one >= two for one, two in zip(cheaper.image_size, dearer.image_size))
        and layers[0] >= layers[1]
    )
    return not contained


def _check_format(given: object) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ValueError(
            f"the field 'format' is {_shown(given)}, a whole number from 1 on is needed"
        )
    if given > FORMAT:
        raise ValueError(
            f"the field 'format' is {given}, this version reads formats up to {FORMAT}: "
            'update anydepth'
        )


def _resize(preprocessing: object) -> str:
    for resize, known in PREPROCESSING.items():
        if preprocessing == known:
            return resize
    raise ValueError(
        f"the field 'preprocessing' is {_shown(preprocessing)}, "
        f'this version can only do {" or ".join(map(str, PREPROCESSING.values()))}: '
        'update anydepth, or export the bundle again'
    )


def _suppression(value: object) -> str:
    given = _mapping(value, 'postprocessing', ('suppression',))['suppression']
    if not isinstance(given, str) or given not in SUPPRESSIONS:
        raise ValueError(
            f"the field 'postprocessing.suppression' is {_shown(given)}, "
            f'this version can only do {" or ".join(SUPPRESSIONS)}: '
            'update anydepth, or export the bundle again'
        )
    return given


def _space(model: Mapping[str, Any]) -> DepthSpace:
    stages = model['stages']
    if (
        not isinstance(stages, list)
        or not stages
        or not all(isinstance(name, str) for name in stages)
    ):
        raise ValueError(
            f"the field 'model.stages' is {_shown(stages)}, a list of stage names is needed"
        )
    backbone = _whole(model['backbone_stages'], 'model.backbone_stages', 0, len(stages))
    layers = model['decoder_layers']
    if layers is not None:
        layers = _whole(layers, 'model.decoder_layers', 1, 1000)
    most = model.get('max_decoder_layers')
    if most is not None and layers is None:
        raise ValueError(
            f"the field 'model.max_decoder_layers' is {_shown(most)}, "
            "but 'model.decoder_layers' says that there is no decoder: export the bundle again"
        )
    if most is not None:
        most = _whole(most, 'model.max_decoder_layers', layers or 1, 1000)
    return DepthSpace(tuple(stages), backbone, layers, most)


def _points(value: object, space: DepthSpace) -> list[OperatingPoint]:
    if not isinstance(value, list):
        raise ValueError(
            f"the field 'ladder' is {_shown(value)}, a list of operating points is needed"
        )
    points = []
    for level, entry in enumerate(value):
        fields = _mapping(entry, f'ladder[{level}]', _POINT_FIELDS)
        size = check_size(fields['image_size'], f'ladder[{level}].image_size')
        try:
            depth = space.parse(_text(fields['depth'], f'ladder[{level}].depth'))
        except ValueError as error:
            raise ValueError(f"the field 'ladder[{level}].depth': {error}") from None
        points.append(
            OperatingPoint(depth, size, _metrics(fields['metrics'], f'ladder[{level}].metrics'))
        )
    return points


def _metrics(value: object, field: str) -> tuple[tuple[str, float], ...]:
    metrics = _mapping(value, field, None)
    for name, figure in metrics.items():
        number = isinstance(figure, (int, float)) and not isinstance(figure, bool)
        if not number or not -_LARGEST < figure < _LARGEST:
            raise ValueError(
                f'the field {f"{field}.{name}"!r} is {_shown(figure)}, a finite number is needed'
            )
    return tuple((name, float(figure)) for name, figure in metrics.items())


def _files(value: object) -> dict[str, str]:
    files = _mapping(value, 'files', None)
    for name, digest in files.items():
        if name in ('', '.', '..') or PurePosixPath(name).name != name or '\\' in name:
            raise ValueError(
                f"the field 'files' lists {_shown(name)}, "
                'a plain file name inside the bundle is needed'
            )
        if not isinstance(digest, str) or not re.fullmatch('[0-9a-f]{64}', digest):
            raise ValueError(
                f'the field {f"files.{name}"!r} is {_shown(digest)}, '
                'a SHA-256 of 64 digits is needed'
            )
    return dict(files)


def _mapping(
    value: object, field: str, names: Sequence[str] | None, optional: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Check that ``value`` is a mapping with these names and no others, any names if None."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(
            f'the field {field!r} is {_shown(value)}, a mapping of names to values is needed'
        )
    if names is not None:
        missing = [name for name in names if name not in value]
        allowed = (*names, *optional)
        unknown = [name for name in value if name not in allowed]
        if missing:
            raise ValueError(
                f'the field {missing[0]!r} is missing in {field}: export the bundle again'
            )
        if unknown:
            raise ValueError(
                f'the field {unknown[0]!r} in {field} is unknown: allowed are {", ".join(allowed)}'
            )
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'the field {field!r} is {_shown(value)}, a text is needed')
    return value


def _whole(value: object, field: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(
            f'the field {field!r} is {_shown(value)}, '
            f'a whole number from {low} to {high} is needed'
        )
    return value


def _shown(value: object) -> str:
    """Return a value for a message: a few lines of YAML can stand for one with no end."""
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist, short.maxstring = 2, 8, 12, 80
    return short.repr(value)
