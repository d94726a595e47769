"""What a task must bring; ``ddp_repro/tasks/<task>/task.py`` holds the built-in ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray
from torch import Tensor

from ddp_repro.protocols.method import Method
from ddp_repro.settings.kinds import DataSettings, ModelSettings

Writer = Callable[[Any, NDArray[Any], Path, str], list[Path]]  # (prediction, pixels, folder, name) -> files


class Tally(Protocol):
    """What predictions are counted in, by what each image adds; a companion file of the record keeps that.

    Attributes:
        higher_is_better: of the first of the measures.
    """

    higher_is_better: bool

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the measures, the most important first."""
        ...

    def image_statistics(self, prediction: Tensor, truth: Tensor, /) -> dict[str, NDArray[Any]]:
        """Return what one image adds, whole numbers or float64 by name, without counting it.

        Raises:
            ValueError: the two do not belong together.
        """
        ...

    def add(self, statistics: Mapping[str, NDArray[Any]], /) -> Any:
        """Count N images by their statistics, (N, ...) by name; the outcome does not depend on their order."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return all measures, as numbers or lists of numbers; NaN where they are undefined."""
        ...

    def value(self, metric: str) -> float:
        """Return a measure over all images; NaN where it is undefined."""
        ...


class Classes(NamedTuple):
    """The classes of a data set; none for what has no classes.

    Attributes:
        colors: (red, green, blue) of 0..255 for each; none where they are not shown in colours.
    """

    names: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()


class Constant(NamedTuple):
    """The prediction that is the same for every image, which models of a task must beat.

    Attributes:
        file: keeps its scores beside a record.
        words: head its row in a table.
        evaluate: (training data, data, settings of the evaluation) -> tally.
    """

    file: str
    words: str
    evaluate: Callable[..., Any]


class TaskDataset(Protocol):
    """One split of a dataset: samples by index for evaluation, drawn at random for training."""

    name: str
    truth: str

    def __len__(self) -> int: ...

    def fingerprint(self) -> str:
        """Return a hash of names and contents."""
        ...


class Task(Protocol):
    """What is predicted, and how it is read, compared and shown.

    Attributes:
        name: of its folder, and of ``ModelSettings.task``.
        asked_as: what users call it who want a picture predicted; tasks that answer the same question share a word.
        truth: the ground truth's key in samples.
        datasets: names that ``DataSettings.dataset`` may have.
        score_type: dataclass of a run's scores, a subclass of :class:`ddp_repro.evaluation.score.Score`.
        measures: how each of its measures is headed and printed.
        saves_predictions: whether an evaluation can keep its predictions, for scoring without the model.
        flips_by_default: whether a test with mirror images is the usual one.
        predict: (model, picture, its sampling runs) -> prediction; None: not made from one picture.
        look_again: (model, picture, its sampling runs, prediction, steps, seed) -> the prediction with what needs the
            network to be shown the picture in other ways; None: nothing does.
        bounded_by: the analysis that says what the uncertainty of a model means as an error; None: none does.
        not_from_a_picture: why, where ``predict`` is None.
        blends: whether predictions of parts of a picture mean the same, so that they may be blended where they overlap.
        made_up_batch: (model settings, data settings, train) -> a small batch that needs no files, always the same,
            read and (with ``train``) augmented in the task's own way; None: other code then counts as other behaviour.
        constant: what every model must beat; None: not known.
        evaluate: replaces the evaluation of whole pictures, for samples that are no pictures; None otherwise.
    """

    name: str
    asked_as: str
    truth: str
    datasets: Sequence[str]
    score_type: type
    measures: Mapping[str, Any]
    saves_predictions: bool
    flips_by_default: bool
    predict: Callable[..., Any] | None
    look_again: Callable[..., Any] | None
    bounded_by: str | None
    not_from_a_picture: str
    blends: bool
    made_up_batch: Callable[..., dict[str, Any]] | None
    constant: Constant | None
    evaluate: Callable[..., Any] | None

    @abstractmethod
    def open(
        self, data: Any, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float], limit: int | None
    ) -> TaskDataset:
        """Open one split; see :func:`ddp_repro.tasks.build.build_dataset`."""
        ...

    @abstractmethod
    def complete(self, recipe: Any) -> Any:
        """Return a recipe with what its data set alone knows (how many classes) filled in.

        Raises:
            DataError: the data set does not say it.
        """
        ...

    @abstractmethod
    def check(self, model: Any, dataset: Any) -> None:
        """Refuse a model and a dataset that cannot work together, before the first image is read.

        Raises:
            ConfigError: says which setting has to change.
        """
        ...

    @abstractmethod
    def survey(self, dataset: Any, recipe: Any) -> Any:
        """Count what the ground truth of an opened training split holds, before the first iteration.

        Returns:
            :class:`ddp_repro.data.survey.Survey`; None: the ground truth is not drawn by the user.

        Raises:
            DataError: a file that training would stumble over; it is named.
        """
        ...

    @abstractmethod
    def check_evaluation(self, evaluation: Any) -> None:
        """Refuse settings of the evaluation that the task cannot follow.

        Raises:
            ConfigError: says which.
        """
        ...

    @abstractmethod
    def tally(self, model: ModelSettings, evaluation: Any) -> Tally:
        """Return an empty tally for a model's predictions."""
        ...

    @abstractmethod
    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        """Return the scores of a run."""
        ...

    @abstractmethod
    def predictor(self, model: Method, images: Sequence[Any], views: Sequence[Any], view_average: str) -> Any:
        """Return what predicts a batch of pictures, a :class:`ddp_repro.evaluation.views.Predictor`."""
        ...

    @abstractmethod
    def classes(self, data: DataSettings) -> Classes:
        """Return the classes of a data set.

        Raises:
            DataError: a user's own, whose folder does not say them.
        """
        ...

    @abstractmethod
    def writer(self, model: ModelSettings, classes: Classes) -> Writer:
        """Return what writes the files of a (prediction, pixels, folder, name) and returns their paths."""
        ...

    def preview(self, prediction: Any, classes: Classes) -> NDArray[Any]:
        """Return a prediction in colours, uint8 (H, W, 3)."""
        return prediction.preview()
