"""The graph that preprocesses on a GPU sees the pixels that the CPU sees."""

from __future__ import annotations

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest

from anydepth_core.data.preprocess import preprocess
from anydepth_core.export.opset import lower_opset
from anydepth_core.export.preprocessing import preprocessing_graph

RESIZES = ['letterbox', 'stretch']


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    (images,) = session.run(['images'], {'image': image})
    return images


def levels_apart(image: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    expected, _ = preprocess(image, size, resize)
    given_ = run(preprocessing_graph(image.shape[:2], size, resize), image)
    assert given_.shape == expected.shape and given_.dtype == expected.dtype
    return 255 * np.abs(given_ - expected)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    camera=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    network=st.tuples(st.sampled_from([32, 64, 96]), st.sampled_from([32, 96, 128])),
    resize=st.sampled_from(RESIZES),
)
def test_any_size_of_image_gives_the_pixels_of_the_cpu(camera, network, resize):
    apart = levels_apart(noise(*camera), network, resize)
    # float32 cannot tell a product of 26 bits from the whole number next to it, very rarely
    assert apart.max() < 1.01 and np.mean(apart > 0.01) < 1e-3


@pytest.mark.parametrize('resize', RESIZES)
@pytest.mark.parametrize('camera', [(480, 640), (427, 640), (720, 1280), (300, 300), (320, 320)])
def test_usual_sizes_of_cameras_give_the_pixels_of_the_cpu(camera, resize):
    apart = levels_apart(noise(*camera), (320, 320), resize)
    assert apart.max() < 1.01 and np.mean(apart > 0.01) < 1e-4


@pytest.mark.parametrize('resize', RESIZES)
def test_frames_of_a_video_give_the_pixels_of_the_cpu(pytestconfig, resize):
    video = cv2.VideoCapture(str(pytestconfig.rootpath / 'config/media/fod_clip.mp4'))
    for _ in range(3):
        read, frame = video.read()
        assert read
        apart = levels_apart(frame, (224, 320), resize)
        assert apart.max() < 1.01 and np.mean(apart > 0.01) < 1e-4
    video.release()


@pytest.mark.parametrize('resize', RESIZES)
def test_the_graph_is_static_and_has_an_older_form(resize):
    model = preprocessing_graph((70, 101), (64, 96), resize)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for value in inferred.graph.value_info:
        assert all(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    image = noise(70, 101)
    np.testing.assert_array_equal(run(lower_opset(model, 17), image), run(model, image))


def test_an_image_of_the_size_of_the_input_is_not_resized():
    kinds = {
        node.op_type for node in preprocessing_graph((64, 64), (64, 64), 'letterbox').graph.node
    }
    assert kinds == {'Cast', 'Unsqueeze', 'Transpose', 'Gather', 'Mul'}


def test_an_unknown_resize_is_refused():
    with pytest.raises(ValueError, match="resize 'crop' is not legal: give letterbox or stretch"):
        preprocessing_graph((64, 64), (64, 64), 'crop')
