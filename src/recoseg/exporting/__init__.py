"""Results for other tools: COCO, YOLO, PASCAL VOC, CVAT, Label Studio, Hugging Face, supervision.

``write`` fills a folder, ``to_detections`` makes supervision's object of one result.
"""

from recoseg.exporting.records import to_detections
from recoseg.exporting.writer import FORMATS, Exported, write

__all__ = ["FORMATS", "Exported", "to_detections", "write"]
