"""Settings of GenPercept: which pipeline, which betas, which decoder and which task; and the sizes of its networks."""

# ruff: noqa: RUF009 - setting() declares a field
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.settings.setting import Settings, setting

Task = Literal["affine_depth", "normals", "dichotomous", "matting", "segmentation"]
Space = Literal["depth", "disparity"]
Noise = Literal["gaussian", "image"]
Input = Literal["blended", "concatenated"]
Decoder = Literal["vae", "dpt", "upernet"]
Spacing = Literal["leading", "trailing"]
Loss = Literal["latent", "image", "customised", "angular", "cross_entropy", "reconstruction", "denoising"]
Trained = Literal["full", "frozen", "lora", "scratch"]
GradientAxes = Literal["both", "vertical"]
SSIKind = Literal["least_squares", "median"]

TASKS: tuple[Task, ...] = get_args(Task)
STAGES: tuple[Loss, ...] = ("reconstruction", "denoising")  # losses of stages whose weights others start from
SINGLE_CHANNEL: tuple[Task, ...] = ("affine_depth", "dichotomous", "matting")  # the mean of the decoder's channels

# The seven (beta_start, beta_end) of Table 1, from the least to the most noise.
TABLE1_BETAS = (
    (0.0002125, 0.003),
    (0.000425, 0.006),
    (0.00085, 0.012),
    (0.0034, 0.048),
    (0.1360, 0.192),
    (0.5440, 0.768),
    (1.0, 1.0),
)

SD_SCALING_FACTOR = 0.18215


@dataclass(frozen=True)
class GenPerceptConfig(Settings):
    """Two switches, a schedule and a decoder: the three pipelines of Section 3 as one.

    ======================= ========== ============== ===================== =======
    pipeline                ``noise``  ``input``      betas                 steps
    ======================= ========== ============== ===================== =======
    stochastic (Marigold)   gaussian   concatenated   (0.00085, 0.012)      10
    deterministic (DMP)     image      blended        (0.00085, 0.012)      10
    one step (GenPercept)   image      blended        (1, 1)                1
    ======================= ========== ============== ===================== =======

    Attributes:
        task: what the decoded map means.
        noise: what is blended with the label's latent: Gaussian noise, or the image's latent (Equation 8).
        input: the U-Net sees the blended latent (4 channels), or the image's latent and it (8 channels).
        beta_start, beta_end: of the ``scaled_linear`` schedule; 1 and 1 leave no label in the blended latent.
        train_steps: T, the number of noise levels.
        steps: denoising steps at inference.
        ensemble: predictions that are aligned and averaged (stochastic pipeline only).
        decoder: the VAE's, or a head on the features of the U-Net's up-blocks.
        head_activation: last layer of the DPT head.
        num_classes: of segmentation, by the UperNet head or as colours.
        scaling_factor: that the latents were trained with; the VAE must agree.
        timestep: the one that training uses (None: random) and one-step inference too (None: that of the spacing).
        spacing: which timesteps inference visits; ``leading`` ends at t = 1, as released.
        multi_resolution_noise: strength of annealed multi-resolution noise in training (0: white noise).
        loss: on the latent's v, or on the decoded map: MSE, the customised one of depth, angles, cross-entropy.
            Two are of stages before the others, where no pretrained weights are at hand: ``reconstruction`` trains the
            VAE alone, to give back images and labels; ``denoising`` then the U-Net as an unconditional latent
            diffusion model, on the v of noised images.
        latent_weight: of the latent loss, added to a loss on the decoded map.
        ssi, gradient_axes: kinds of the customised loss; the released depth models used the vertical axis alone.
        unet: fine-tuned in full, frozen, by LoRA, or in full from random weights (Tables 2 and 4).
        lora_rank: rank, and alpha, of LoRA.
        decoder_from_scratch: train the VAE's decoder too, from random weights (Table 2); a head always is.
        space: whether an affine-invariant map is depth or disparity.
    """

    task: Task = setting("affine_depth", decides="weights")
    noise: Noise = setting("image", decides="weights")
    input: Input = setting("blended", decides="weights")
    beta_start: float = setting(1.0, decides="weights", above=0, at_most=1)
    beta_end: float = setting(1.0, decides="weights", above=0, at_most=1)
    train_steps: int = setting(1000, decides="weights", at_least=2, at_most=100_000)
    steps: int = setting(1, decides="scores", at_least=1, at_most=100_000)
    ensemble: int = setting(1, decides="scores", at_least=1, at_most=1000)
    decoder: Decoder = setting("vae", decides="weights")
    head_activation: Literal["identity", "relu"] = setting("identity", decides="weights")
    num_classes: int = setting(40, decides="weights", at_least=2, at_most=255)
    scaling_factor: float = setting(SD_SCALING_FACTOR, decides="weights", above=0, at_most=1e3)
    timestep: int | None = setting(None, decides="weights", at_least=0, at_most=100_000)
    spacing: Spacing = setting("leading", decides="scores")
    multi_resolution_noise: float = setting(0.0, decides="weights", at_least=0, below=1, loose=True)
    loss: Loss = setting("latent", decides="weights", loose=True)
    latent_weight: float = setting(0.0, decides="weights", at_least=0, at_most=1e3, loose=True)
    ssi: SSIKind = setting("least_squares", decides="weights", loose=True)
    gradient_axes: GradientAxes = setting("both", decides="weights", loose=True)
    unet: Trained = setting("full", decides="weights", loose=True)
    lora_rank: int = setting(64, decides="weights", at_least=1, at_most=4096)
    decoder_from_scratch: bool = setting(False, decides="weights", loose=True)
    space: Space = setting("depth", decides="weights")

    def check(self) -> None:
        """Check that the settings can work together.

        Raises:
            ConfigError: switches that exclude each other.
        """
        if self.beta_start > self.beta_end:
            raise ConfigError(f"betas need 0 < beta_start <= beta_end <= 1, got {self.beta_start} and {self.beta_end}")
        if self.steps > self.train_steps:
            raise ConfigError(f"steps={self.steps} is not between 1 and train_steps={self.train_steps}")
        if self.timestep is not None and self.timestep >= self.train_steps:
            raise ConfigError(f"timestep={self.timestep} is not between 0 and {self.train_steps - 1}")
        self._check_pipeline()
        self._check_decoder()
        self._check_loss()

    def _check_pipeline(self) -> None:
        if self.loss == "denoising" and (self.noise, self.input, self.decoder) != ("gaussian", "blended", "vae"):
            raise ConfigError("loss='denoising' needs noise='gaussian', input='blended' and decoder='vae'")
        if self.noise == "gaussian" and self.input == "blended" and self.loss != "denoising":
            raise ConfigError("noise='gaussian' with input='blended' hides the image from the U-Net; concatenate it")
        if self.ensemble > 1 and self.noise == "image":
            raise ConfigError("ensemble > 1 needs noise='gaussian': a deterministic pipeline repeats itself")
        if self.ensemble > 1 and self.task not in ("affine_depth", "normals"):
            raise ConfigError(f"ensemble > 1 is defined for depth, disparity and normals, not for {self.task}")
        if self.multi_resolution_noise and self.noise != "gaussian":
            raise ConfigError("multi_resolution_noise needs noise='gaussian'")
        if self.timestep is not None and self.steps > 1:
            raise ConfigError("a fixed timestep needs steps=1")
        if self.space == "disparity" and self.task != "affine_depth":
            raise ConfigError(f"space='disparity' is for task='affine_depth', not {self.task!r}")

    def _check_decoder(self) -> None:
        if self.decoder != "vae" and not self.one_step:
            raise ConfigError(
                f"decoder={self.decoder!r} reads one pass: it needs image noise, betas (1, 1) and steps=1"
            )
        if self.decoder == "upernet" and self.task != "segmentation":
            raise ConfigError(f"decoder='upernet' is for task='segmentation', not {self.task!r}")
        if self.decoder == "dpt" and self.task not in SINGLE_CHANNEL:
            raise ConfigError(f"decoder='dpt' gives one channel; task={self.task!r} has several")
        if self.decoder_from_scratch and self.decoder == "vae" and self.loss in ("latent", "denoising"):
            raise ConfigError(f"decoder_from_scratch with loss={self.loss!r} leaves the VAE's decoder untrained")

    def _check_loss(self) -> None:
        if (self.decoder == "upernet") != (self.loss == "cross_entropy"):
            raise ConfigError(f"decoder={self.decoder!r} does not go with loss={self.loss!r}")
        if self.decoder != "vae" and (self.loss in ("latent", "reconstruction") or self.latent_weight):
            raise ConfigError(f"decoder={self.decoder!r} has no latent for the latent loss")
        if self.loss == "customised" and self.task != "affine_depth":
            raise ConfigError(f"loss='customised' is for depth and disparity, not {self.task}")
        if self.loss == "angular" and self.task != "normals":
            raise ConfigError(f"loss='angular' is for normals, not {self.task}")

    @property
    def one_step(self) -> bool:
        """Say whether no label is in the blended latent, so that one pass is the whole inference (Equation 11)."""
        return self.beta_start == self.beta_end == 1 and self.noise == "image" and self.steps == 1

    @property
    def diffusion(self) -> bool:
        """Say whether a prediction depends on the number of steps or on drawn noise."""
        return self.noise == "gaussian" or self.beta_start < 1

    @property
    def predicts(self) -> bool:
        """Say whether the settings are of a model that predicts, and not of a stage before."""
        return self.loss not in STAGES

    @property
    def in_channels(self) -> int:
        """Return the channels of the U-Net's input: 4 blended, 8 concatenated."""
        return 4 if self.input == "blended" else 8

    @property
    def output_channels(self) -> int:
        """Return the channels of a prediction: classes of UperNet, else 1 or 3."""
        if self.decoder == "upernet":
            return self.num_classes
        return 1 if self.task in SINGLE_CHANNEL else 3


@dataclass(frozen=True, kw_only=True)
class ModelConfig(GenPerceptConfig, ModelSettings):
    """A pipeline with the sizes of its networks: what a recipe holds.  The defaults are Stable Diffusion 2.1's.

    Attributes:
        unet_channels: of the U-Net's four levels, finest first.
        unet_heads: attention heads of each.
        unet_layers: residual blocks of each.
        vae_channels: of the VAE's levels; each after the first halves the size.
        vae_layers: residual blocks of each.
        text_width: of the embedding that the U-Net attends to.
        norm_groups: of all group normalisations.
        head_channels: width of the DPT or UperNet head.
    """

    kind: ClassVar[str] = "papers.genpercept"
    paper: ClassVar[str] = "genpercept"
    builder: ClassVar[str] = "ddp_repro.papers.genpercept.method:build_model"

    unet_channels: tuple[int, int, int, int] = setting((320, 640, 1280, 1280), decides="weights", at_least=8)
    unet_heads: tuple[int, int, int, int] = setting((5, 10, 20, 20), decides="weights", at_least=1)
    unet_layers: int = setting(2, decides="weights", at_least=1, at_most=16)
    vae_channels: tuple[int, ...] = setting((128, 256, 512, 512), decides="weights", at_least=4)
    vae_layers: int = setting(2, decides="weights", at_least=1, at_most=16)
    text_width: int = setting(1024, decides="weights", at_least=1, at_most=65_536)
    norm_groups: int = setting(32, decides="weights", at_least=1, at_most=1024)
    head_channels: int = setting(256, decides="weights", at_least=4, at_most=8192)

    def small(self) -> ModelConfig:
        """Return a pipeline of the same switches with narrow, shallow networks."""
        return dataclasses.replace(
            self, unet_channels=(16, 32, 32, 32), unet_heads=(2, 2, 2, 2), unet_layers=1,
            vae_channels=(8, 16, 32, 32, 32, 32)[: len(self.vae_channels)], vae_layers=1, text_width=16, norm_groups=8,
            head_channels=16, lora_rank=min(self.lora_rank, 4),
        )  # fmt: skip

    def check(self) -> None:
        """Check that the pipeline's settings work together, and that groups and heads divide the widths.

        Raises:
            ConfigError: says which setting has to change.
        """
        super().check()
        for name in ("unet_channels", "vae_channels"):
            if any(width % self.norm_groups for width in getattr(self, name)):
                raise ConfigError(f"{name}={getattr(self, name)} must be multiples of norm_groups={self.norm_groups}")
        if any(width % heads for width, heads in zip(self.unet_channels, self.unet_heads, strict=True)):
            raise ConfigError(f"unet_channels={self.unet_channels} must be multiples of unet_heads={self.unet_heads}")


def pipeline_config(
    name: Literal["stochastic", "deterministic", "one_step"], task: Task = "affine_depth"
) -> GenPerceptConfig:
    """Return the settings of a pipeline of Table 1 at its baseline betas.

    Raises:
        ConfigError: no such pipeline or task.
    """
    if name == "stochastic":
        return GenPerceptConfig(task, "gaussian", "concatenated", 0.00085, 0.012, steps=10)
    if name == "deterministic":
        return GenPerceptConfig(task, "image", "blended", 0.00085, 0.012, steps=10)
    if name == "one_step":
        return GenPerceptConfig(task)
    raise ConfigError(f"no pipeline {name!r}; it is one of stochastic, deterministic, one_step")
