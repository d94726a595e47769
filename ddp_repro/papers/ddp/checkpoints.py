"""The checkpoints that DDP's authors released."""

from __future__ import annotations

from ddp_repro.interop.hub import OfficialFile, Release

# The hashes are the hub's own (Git LFS object ids).  They do not change; a file that has others is not this checkpoint.
FILES = {
    "ade20k_swin_t": OfficialFile(
        "ddp_swin_t_2x8_512x512_160k_ade20k.pth",
        "e8b1874b23c408e99dc70db1f2e2bea41320fc67dc4c63eebc8f8c821aa87c43", 159,
    ),
    "ade20k_swin_s": OfficialFile(
        "ddp_swin_s_2x8_512x512_160k_ade20k.pth",
        "c1c42d7241a117289f3c4e809cfab4ccd2b8a4250d5ee5aeec3ef1b4cfd11b1e", 245,
    ),
    "ade20k_swin_b": OfficialFile(
        "ddp_swin_b_2x8_512x512_160k_ade20k.pth",
        "ab81466eb1b6802950697b8bc1510c4dea868d7b1f76b8fa391f9fedbdd49607", 401,
    ),
    "ade20k_swin_l": OfficialFile(
        "ddp_swin_l_2x8_512x512_160k_ade20k.pth",
        "9185e7080c3018e4b1d77330172fa4fe76edec94b223bef5ff16f11f4395a455", 835,
    ),
    "cityscapes_convnext_t": OfficialFile(
        "ddp_convnext_t_4x4_512x1024_160k_cityscapes.pth",
        "e6421f7cbdcbb7effb6efd0550b6e16122e70764debd00d156285f6f37d5436c", 160,
    ),
    "cityscapes_convnext_s": OfficialFile(
        "ddp_convnext_s_4x4_512x1024_160k_cityscapes.pth",
        "511a2f861888991280cfe50f7770a5ed1488071e3460d4792c7ef65a35804741", 246,
    ),
    "cityscapes_convnext_b": OfficialFile(
        "ddp_convnext_b_4x4_512x1024_160k_cityscapes.pth",
        "d0750670c411b5a883b0c65faf631a74ccc8efcbb9268278b5d0e3ae44d7e79e", 399,
    ),
    "cityscapes_convnext_l": OfficialFile(
        "ddp_convnext_l_4x4_512x1024_160k_cityscapes.pth",
        "87ace7f6e5d74dce9bb6e122c1f0a41df8c6ae40d7256685f24861a12b14267f", 835,
    ),
    "cityscapes_convnext_t_aligned": OfficialFile(
        "ddp_convnext_t_4x4_512x1024_5k_cityscapes_aligned.pth",
        "9111de7d48a7c347ac7841ecfac8f7472d40291a7ae20aea958be856da6a5824", 160,
    ),
    "cityscapes_convnext_l_aligned": OfficialFile(
        "ddp_convnext_l_4x4_512x1024_5k_cityscapes_aligned.pth",
        "7d89adf33bf702d56808790397eb46731c70659f6557a312c60a7b48d0744f4e", 835,
    ),
    "nuscenes_camera": OfficialFile("ddp-camera-bev256d2-lss-scale001-d5-lr5e-5.pth"),
    "nuscenes_fusion": OfficialFile("ddp-fusion-bev256d2-lss-scale001-d5-lr5e-5.pth"),
}  # fmt: skip
RELEASE = Release("yfji/DDP-Weight", FILES)
