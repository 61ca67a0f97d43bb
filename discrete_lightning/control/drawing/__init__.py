"""Pictures of environments, drawn with pillow: no display is needed."""

from discrete_lightning.control.drawing.acrobot import draw_acrobot
from discrete_lightning.control.drawing.cart_pole import draw_cart_pole
from discrete_lightning.control.drawing.episode import of_one_size, strip, write_gif
from discrete_lightning.control.drawing.grid import draw_grid
from discrete_lightning.control.drawing.mountain_car import draw_mountain_car
from discrete_lightning.control.drawing.text import text_frame

__all__ = [
    "draw_acrobot",
    "draw_cart_pole",
    "draw_grid",
    "draw_mountain_car",
    "of_one_size",
    "strip",
    "text_frame",
    "write_gif",
]
