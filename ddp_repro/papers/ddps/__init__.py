"""DDPS (Lai et al. 2023), "Denoising Diffusion Semantic Segmentation with Mask Prior Modeling".

A frozen segmentor's last feature conditions a small U-Net, which denoises a map of classes by discrete diffusion.
"""
