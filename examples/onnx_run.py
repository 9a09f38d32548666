"""Run an exported student with onnxruntime alone: ``onnx_run.py STUDENT.onnx PHOTO OUT.png``."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
photo = np.asarray(Image.open(sys.argv[2]).convert("RGB"))
labels, confidence = session.run(["labels", "confidence"], {"image": photo})
facts = session.get_modelmeta().custom_metadata_map
colours = np.asarray(json.loads(facts["colours"]), np.uint8)
Image.fromarray(colours[labels]).save(sys.argv[3])
names = json.loads(facts["names"])
print({names[i]: f"{(labels == i).mean():.1%}" for i in np.unique(labels)}, confidence.mean())
