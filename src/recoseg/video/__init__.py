"""Frames of a video in, label maps and an overlay out, smoothed over time."""

from recoseg.video.clip import Clip, segment_video
from recoseg.video.frames import open_frames

__all__ = ["Clip", "open_frames", "segment_video"]
