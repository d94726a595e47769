"""Graphs in 8 bits, by onnxruntime's dynamic quantisation: weights beforehand, activations as they come."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.interop.export.graphs import quiet

MATRIX_PRODUCTS = ("MatMul", "Gemm")


def quantise(source: Path, target: Path) -> None:
    """Write an ONNX graph whose matrix products are of 8-bit numbers; convolutions stay in float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            source, target, op_types_to_quantize=list(MATRIX_PRODUCTS), per_channel=True, weight_type=QuantType.QInt8
        )
