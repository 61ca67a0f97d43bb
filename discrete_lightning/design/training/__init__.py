"""Sequence design with Lightning: the designer and the callbacks that write and draw designs."""

from discrete_lightning.design.training.design_trajectory import DesignTrajectory
from discrete_lightning.design.training.design_writer import DesignCallback, DesignWriter
from discrete_lightning.design.training.designer import SequenceDesigner
from discrete_lightning.design.training.sequence_logo import SequenceLogo

__all__ = ["DesignCallback", "DesignTrajectory", "DesignWriter", "SequenceDesigner", "SequenceLogo"]
