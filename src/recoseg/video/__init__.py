"""Videos: frames in, label maps and an overlay out, steadied over time."""

from recoseg.video.clip import Clip, segment_video

__all__ = ["Clip", "segment_video"]
