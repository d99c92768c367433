"""Parity with another implementation: RTDetrForObjectDetection of transformers."""

import pytest
from safetensors.torch import load_file
import torch

from anydepth_core.checkpoint import convert_state_dict
from anydepth_core.models.rtdetr.layout import Layout, LAYOUTS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR

transformers = pytest.importorskip('transformers', reason='optional: pip install transformers')

CLASSES = 5
TINY = Layout(
    (2, 2, 3, 2),
    width=16,
    neck_channels=32,
    neck_hidden=48,
    channels=32,
    hidden=40,
    heads=4,
    points=2,
    queries=50,
    decoder_layers=3,
)
CASES = {'tiny': TINY, 'rtdetr_r18': LAYOUTS['rtdetr_r18']}


def reference(layout):
    """Build the same network there, with random weights and statistics."""
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=layout.width,
        hidden_sizes=list(layout.stage_channels),
        depths=list(layout.blocks),
        layer_type='bottleneck' if layout.bottleneck else 'basic',
        out_features=['stage2', 'stage3', 'stage4'],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=layout.frozen,
        encoder_in_channels=list(layout.stage_channels[1:]),
        encoder_hidden_dim=layout.neck_channels,
        encoder_ffn_dim=layout.neck_hidden,
        encoder_attention_heads=layout.heads,
        hidden_expansion=layout.expansion,
        d_model=layout.channels,
        decoder_in_channels=[layout.neck_channels] * 3,
        decoder_ffn_dim=layout.hidden,
        decoder_attention_heads=layout.heads,
        decoder_n_points=layout.points,
        decoder_layers=layout.decoder_layers,
        num_queries=layout.queries,
        anchor_image_size=None,
        num_labels=CLASSES,
    )
    torch.manual_seed(0)
    model = transformers.RTDetrForObjectDetection(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith('running_var') or (tensor.dim() == 1 and name.endswith('weight')):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith('running_mean') or (tensor.dim() == 1 and name.endswith('bias')):
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
            elif 'bbox_embed' in name or 'class_embed' in name or 'score_head' in name:
                tensor.normal_(std=0.2, generator=generator)
    return model


@pytest.mark.parametrize('size', [(160, 160), (96, 192)], ids=['square', 'wide'])
@pytest.mark.parametrize('name', list(CASES))
def test_outputs_equal_those_of_transformers(name, size, tmp_path):
    model = reference(CASES[name])
    model.save_pretrained(tmp_path)
    detector = AnyDepthRTDETR(name, CASES[name], num_classes=CLASSES)
    tensors = load_file(tmp_path / 'model.safetensors')
    detector.load_state_dict(convert_state_dict(tensors, detector))
    detector, model = detector.double().eval(), model.double()
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        raw, expected = detector(images, 'full'), model(pixel_values=images)
    assert expected.logits.std() > 0.1 and expected.pred_boxes.std() > 0.05
    assert (raw.logits - expected.logits).abs().max() < 1e-4
    assert (raw.boxes - expected.pred_boxes).abs().max() < 1e-4
