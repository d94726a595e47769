"""Settings of GenPercept: which pipeline, which betas, which decoder and which task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ddp_repro.settings.errors import ConfigError

Task = Literal["depth", "disparity", "normals", "foreground", "matte", "segmentation"]
Noise = Literal["gaussian", "image"]
Input = Literal["blended", "concatenated"]
Decoder = Literal["vae", "dpt", "upernet"]
Spacing = Literal["leading", "trailing"]
Loss = Literal["latent", "image", "customised", "angular", "cross_entropy"]
Trained = Literal["full", "frozen", "lora", "scratch"]
GradientAxes = Literal["both", "vertical"]
SSIKind = Literal["least_squares", "median"]

TASKS: tuple[Task, ...] = get_args(Task)
SINGLE_CHANNEL: tuple[Task, ...] = ("depth", "disparity", "foreground", "matte")  # the mean of the decoder's channels

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
class GenPerceptConfig:
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
        num_classes: classes of the UperNet head.
        scaling_factor: that the latents were trained with; the VAE must agree.
        timestep: the one that training uses (None: random) and one-step inference too (None: that of the spacing).
        spacing: which timesteps inference visits; ``leading`` ends at t = 1, as released.
        multi_resolution_noise: strength of annealed multi-resolution noise in training (0: white noise).
        loss: on the latent's v, or on the decoded map: MSE, the customised one of depth, angles, cross-entropy.
        latent_weight: of the latent loss, added to a loss on the decoded map.
        ssi, gradient_axes: kinds of the customised loss; the released depth models used the vertical axis alone.
        unet: fine-tuned in full, frozen, by LoRA, or in full from random weights (Tables 2 and 4).
        lora_rank: rank, and alpha, of LoRA.
        decoder_from_scratch: train the VAE's decoder too, from random weights (Table 2); a head always is.
    """

    task: Task = "depth"
    noise: Noise = "image"
    input: Input = "blended"
    beta_start: float = 1.0
    beta_end: float = 1.0
    train_steps: int = 1000
    steps: int = 1
    ensemble: int = 1
    decoder: Decoder = "vae"
    head_activation: Literal["identity", "relu"] = "identity"
    num_classes: int = 40
    scaling_factor: float = SD_SCALING_FACTOR
    timestep: int | None = None
    spacing: Spacing = "leading"
    multi_resolution_noise: float = 0.0
    loss: Loss = "latent"
    latent_weight: float = 0.0
    ssi: SSIKind = "least_squares"
    gradient_axes: GradientAxes = "both"
    unet: Trained = "full"
    lora_rank: int = 64
    decoder_from_scratch: bool = False

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: a value out of its range, or switches that exclude each other.
        """
        choices = {"task": Task, "noise": Noise, "input": Input, "decoder": Decoder, "spacing": Spacing, "loss": Loss}
        choices |= {"unet": Trained, "ssi": SSIKind, "gradient_axes": GradientAxes}
        for name, values in choices.items():
            if getattr(self, name) not in get_args(values):
                raise ConfigError(f"{name}={getattr(self, name)!r} is none of {', '.join(get_args(values))}")
        if self.head_activation not in ("identity", "relu"):
            raise ConfigError(f"head_activation={self.head_activation!r} is none of identity, relu")
        if not 0 < self.beta_start <= self.beta_end <= 1:
            raise ConfigError(f"betas need 0 < beta_start <= beta_end <= 1, got {self.beta_start} and {self.beta_end}")
        if self.train_steps < 2:
            raise ConfigError(f"train_steps={self.train_steps}: a schedule has at least 2 levels")
        if not 1 <= self.steps <= self.train_steps:
            raise ConfigError(f"steps={self.steps} is not between 1 and train_steps={self.train_steps}")
        if self.timestep is not None and not 0 <= self.timestep < self.train_steps:
            raise ConfigError(f"timestep={self.timestep} is not between 0 and {self.train_steps - 1}")
        if self.ensemble < 1:
            raise ConfigError(f"ensemble={self.ensemble} is below 1")
        if self.scaling_factor <= 0:
            raise ConfigError(f"scaling_factor={self.scaling_factor} is not positive")
        if not 0 <= self.multi_resolution_noise < 1:
            raise ConfigError(f"multi_resolution_noise={self.multi_resolution_noise} is not in [0, 1)")
        if self.lora_rank < 1:
            raise ConfigError(f"lora_rank={self.lora_rank} is below 1")
        if self.latent_weight < 0:
            raise ConfigError(f"latent_weight={self.latent_weight} is negative")
        self._check_pipeline()
        self._check_decoder()
        self._check_loss()

    def _check_pipeline(self) -> None:
        if self.noise == "gaussian" and self.input == "blended":
            raise ConfigError("noise='gaussian' with input='blended' hides the image from the U-Net; concatenate it")
        if self.ensemble > 1 and self.noise == "image":
            raise ConfigError("ensemble > 1 needs noise='gaussian': a deterministic pipeline repeats itself")
        if self.ensemble > 1 and self.task not in ("depth", "disparity", "normals"):
            raise ConfigError(f"ensemble > 1 is defined for depth, disparity and normals, not for {self.task}")
        if self.multi_resolution_noise and self.noise != "gaussian":
            raise ConfigError("multi_resolution_noise needs noise='gaussian'")
        if self.timestep is not None and self.steps > 1:
            raise ConfigError("a fixed timestep needs steps=1")

    def _check_decoder(self) -> None:
        if self.decoder != "vae" and not self.one_step:
            raise ConfigError(
                f"decoder={self.decoder!r} reads one pass: it needs image noise, betas (1, 1) and steps=1"
            )
        if self.decoder == "upernet" and self.task != "segmentation":
            raise ConfigError(f"decoder='upernet' is for task='segmentation', not {self.task!r}")
        if self.decoder == "dpt" and self.task not in SINGLE_CHANNEL:
            raise ConfigError(f"decoder='dpt' gives one channel; task={self.task!r} has several")
        if self.decoder == "upernet" and self.num_classes < 2:
            raise ConfigError(f"num_classes={self.num_classes} is below 2")
        if self.decoder_from_scratch and self.decoder == "vae" and self.loss == "latent":
            raise ConfigError("decoder_from_scratch with loss='latent' leaves the VAE's decoder untrained")

    def _check_loss(self) -> None:
        if (self.decoder == "upernet") != (self.loss == "cross_entropy"):
            raise ConfigError(f"decoder={self.decoder!r} does not go with loss={self.loss!r}")
        if self.decoder != "vae" and (self.loss == "latent" or self.latent_weight):
            raise ConfigError(f"decoder={self.decoder!r} has no latent for the latent loss")
        if self.loss == "customised" and self.task not in ("depth", "disparity"):
            raise ConfigError(f"loss='customised' is for depth and disparity, not {self.task}")
        if self.loss == "angular" and self.task != "normals":
            raise ConfigError(f"loss='angular' is for normals, not {self.task}")

    @property
    def one_step(self) -> bool:
        """Say whether no label is in the blended latent, so that one pass is the whole inference (Equation 11)."""
        return self.beta_start == self.beta_end == 1 and self.noise == "image" and self.steps == 1

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


def pipeline_config(name: Literal["stochastic", "deterministic", "one_step"], task: Task = "depth") -> GenPerceptConfig:
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
