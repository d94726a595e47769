"""Synthetic street scenes: one description rendered to a picture, its exact class map and its exact depth."""

from data_prep.scenes.canvas import CLASSES, Camera, Light
from data_prep.scenes.render import Rendering, render
from data_prep.scenes.street import Scene, Side, random_street
from data_prep.scenes.things import Thing

__all__ = ["CLASSES", "Camera", "Light", "Rendering", "Scene", "Side", "Thing", "random_street", "render"]
