"""Models of which it is known whether they read their map."""

import torch

from tests.evaluation.conftest import tiny_model
from tests.evaluation.tiny_depth import tiny_depth_model


def blind(model):
    """The model without the map half of its fusion."""
    with torch.no_grad():
        model.fusion.weight[:, model.feature_channels :] = 0
    return model


def copying(**settings):
    """A segmentation model whose prediction is the class whose code word is nearest to the map."""
    model = tiny_model(scale=1.0, **settings)
    with torch.no_grad():
        model.fusion.bias.zero_()
        model.fusion.weight[:, : model.feature_channels] = 0
        model.fusion.weight[:, model.feature_channels :] = torch.eye(model.map_channels)

    def nearest(fused, shape, t):
        codes = model.encoding.codes()[: model.config.num_classes]
        return -torch.cdist(fused, codes.expand(len(fused), -1, -1)).transpose(1, 2).unflatten(-1, shape)

    model.denoise = nearest
    return model


def copying_depth():
    """A depth model whose prediction is its map."""
    model = tiny_depth_model(scale=1.0)
    low, high = model.config.min_depth, model.config.max_depth
    with torch.no_grad():
        model.fusion.weight.zero_()
        model.fusion.bias.zero_()
        model.fusion.weight[:, -1] = 1

    def copy(fused, shape, t):
        return ((fused[:, :, :1] + 1) / 2 * (high - low) + low).transpose(1, 2).unflatten(-1, shape)

    model.denoise = copy
    return model
