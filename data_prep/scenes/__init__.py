"""Synthetic streets and rooms: a description rendered to a picture, its exact class map and its exact depth."""

from data_prep.scenes.canvas import CLASSES, Camera, Light
from data_prep.scenes.render import Rendering, render
from data_prep.scenes.room import Room, View, random_room
from data_prep.scenes.room_render import render_room
from data_prep.scenes.room_things import ROOM_CLASSES, Part, Piece
from data_prep.scenes.street import Scene, Side, random_street
from data_prep.scenes.things import Thing

__all__ = [
    "CLASSES",
    "ROOM_CLASSES",
    "Camera",
    "Light",
    "Part",
    "Piece",
    "Rendering",
    "Room",
    "Scene",
    "Side",
    "Thing",
    "View",
    "random_room",
    "random_street",
    "render",
    "render_room",
]
