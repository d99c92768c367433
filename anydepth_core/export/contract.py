"""What goes into a master ONNX and comes out of it, checked whenever a bundle is loaded.

The values are described in ``master.py``. Row ``c`` of the scores belongs to line ``c`` of the
label file; a data set is matched by the names of its classes, so a bundle has no category ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anydepth_core.depth import DepthSpace
from anydepth_core.errors import sentence
from anydepth_core.export.manifest import Manifest

if TYPE_CHECKING:
    import onnx

# Type and shape; a word stands for a number that differs from image to image, or detector.
_Value = tuple[str, Sequence[int | str]]


def master_inputs(space: DepthSpace) -> dict[str, _Value]:
    """Return the inputs of the master of a detector; dimensions given as words are dynamic."""
    inputs: dict[str, _Value] = {
        'images': ('float32', ('batch', 3, 'height', 'width')),
        'depth_mask': ('bool', (len(space.stages),)),
    }
    if space.decoder_layers is not None:
        inputs['decoder_layers'] = ('int64', ())
    return inputs


def master_outputs(num_classes: int) -> dict[str, _Value]:
    """Return the outputs of the master of a detector."""
    return {
        'boxes': ('float32', ('batch', 4, 'anchors')),
        'scores': ('float32', ('batch', num_classes, 'anchors')),
    }


def check_master(
    path: Path, content: bytes, manifest: Manifest, num_classes: int
) -> dict[str, tuple[int, ...]]:
    """Check that a master ONNX keeps the contract and belongs to a bundle.

    Args:
        path: where it comes from, for messages.
        content: the file.
        manifest: of the bundle.
        num_classes: how many labels the bundle has.

    Returns:
        The shape of each weight by its name.

    Raises:
        ValueError: if it does not; the message says what is expected and what was found.
        RuntimeError: if onnx is not installed.
    """
    model = _parsed(path, content)
    try:
        _check_facts(path, model, manifest, num_classes)
        _check_values(path, 'inputs', model.graph.input, master_inputs(manifest.space), True)
        _check_values(path, 'outputs', model.graph.output, master_outputs(num_classes), False)
        return _check_form(path, model)
    except ValueError:
        raise
    except Exception as error:  # names that are no text, endless nesting
        raise ValueError(
            f'{path} is damaged ({sentence(error)}): export the bundle again'
        ) from None


def _parsed(path: Path, content: bytes) -> onnx.ModelProto:
    try:
        from google.protobuf.message import DecodeError
        import onnx
    except ImportError:
        raise RuntimeError("onnx is not installed: run 'pip install onnx'") from None
    try:
        return onnx.load_model_from_string(content)
    except DecodeError:
        raise ValueError(f'{path} is no ONNX model: export the bundle again') from None


def _check_facts(path: Path, model: onnx.ModelProto, manifest: Manifest, num_classes: int) -> None:
    from anydepth_core.export.master import read_facts

    space = manifest.space
    expected = {
        'name': manifest.model_name,
        'variant': manifest.variant,
        'num_classes': num_classes,
        'stages': list(space.stages),
        'backbone_stages': space.backbone_stages,
        'decoder_layers': space.decoder_layers,
        'max_decoder_layers': space.max_decoder_layers,
    }
    try:
        facts = {'max_decoder_layers': None, **read_facts(model)}
    except ValueError as error:
        raise ValueError(f'{path}: {sentence(error)}') from None
    for name, value in expected.items():
        if name not in facts or facts[name] != value:
            raise ValueError(
                f'{path} does not belong to the bundle: '
                f'expected {name} {value!r}, found {facts.get(name)!r}; export the bundle again'
            )


def _check_values(
    path: Path,
    kind: str,
    values: Sequence[onnx.ValueInfoProto],
    expected: Mapping[str, _Value],
    dynamic: bool,
) -> None:
    """Check names, types and shapes; ``dynamic`` asks that no number stands for a word."""
    found = {value.name: _value(value) for value in values}
    if set(found) != set(expected):
        raise ValueError(
            f'{path} is no master ONNX: expected the {kind} {", ".join(sorted(expected))}, '
            f'found {", ".join(sorted(found))}; export the bundle again'
        )
    for name, (kind_of_number, shape) in expected.items():
        found_kind, found_shape = found[name]
        fits = len(shape) == len(found_shape) and all(
            isinstance(size, str) or not dynamic if isinstance(wanted, str) else size == wanted
            for wanted, size in zip(shape, found_shape)
        )
        if found_kind != kind_of_number or not fits:
            raise ValueError(
                f'{path} does not keep the contract: expected {name} {kind_of_number} '
                f'{_text(shape)}, found {found_kind} {_text(found_shape)}; export the bundle again'
            )


def _check_form(path: Path, model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Check the operators, and that the file holds all of its weights; return their shapes."""
    import onnx

    from anydepth_core.export.master import initializers, OPSET

    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets not in ({'': OPSET}, {'ai.onnx': OPSET}):
        raise ValueError(
            f'{path} uses the operator sets {opsets}, expected opset {OPSET} of ONNX alone: '
            'export the bundle again'
        )
    for tensor in initializers(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(
                f'{path} keeps the weight {tensor.name!r} in another file: export the bundle again'
            )
    return {tensor.name: tuple(tensor.dims) for tensor in initializers(model.graph)}


def _value(value: onnx.ValueInfoProto) -> _Value:
    import onnx

    tensor = value.type.tensor_type
    try:
        kind = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        kind = f'type {tensor.elem_type}'
    return kind, [dim.dim_value or dim.dim_param for dim in tensor.shape.dim]


def _text(shape: Sequence[int | str]) -> str:
    return f'[{", ".join(str(size) or "?" for size in shape)}]'
