"""Made-up analyses of map use for tests of what is judged by them."""

from workbook.fake_analyses import make_analysis


def make_map_use(run, preset="mini", *, measure="miou", effect=(20.0, 19.0, 21.0)):
    """``effect``: estimate, low and high of the last step, in points of mIoU or in REL; low and high may be None."""
    estimate, low, high = effect
    interval = {"estimate": estimate, "low": low, "high": high, "level": 0.95, "count": 8, "unit": "images"}
    scores = {"true": 40.0 + estimate, "prediction": 40.0, "other": 40.0, "zero": 40.0, "noise": 39.0}
    steps = [{"time": 1 - n / 3, "level": (1, 1 / 3, 0)[n], "scores": scores, "effect": interval} for n in range(3)]
    result = {"measure": measure, "steps": steps, "effect": interval}
    return make_analysis("map_use", run, preset, settings={"steps": 3, "seeds": [0], "limit": None}, result=result)
